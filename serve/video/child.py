"""Reads one video in a process of its own, which may crash, hang or be killed by itself.

Started by serve.video.reader as `python -m serve.video.child ORDER`. ORDER is JSON: `fd`, the open
video; `memory_mb` and `cpu_s`; `limits` as of VideoLimits; `sampling` as of Sampling, or null when
only the length is asked for. Answers on standard output, each a line of JSON: `length_s`, or
`read_frac` while the scenes are sought, then `plan`, then each `frame`, its line followed by its
pixels (height x width x 3 bytes of RGB), then `end`; or `error` with its `detail` at any time.
"""

import errno
import json
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.runtime.errors import DecodeError, TooLargeError
from serve.video.files import VideoLimits, probed

MEMORY = "memory"
ERRORS = {"too_large": TooLargeError, "unusable": DecodeError}
PROGRESS_EVERY_S = 0.5
# An allocation that fails leaves less than its own size: a frame of 8K has 50 MB.
SPARE_MB = 64


class Answer:
    """The parent's end of the pipe. Nothing else in this process may write to it."""

    def __init__(self) -> None:
        self._out: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def send(self, pixels: memoryview | bytes = b"", **message: Any) -> None:
        self._out.write(json.dumps(message).encode() + b"\n")
        self._out.write(pixels)
        self._out.flush()


def main() -> None:
    order = json.loads(sys.argv[1])
    answer = Answer()
    path = Path(f"/dev/fd/{order['fd']}")
    try:
        read(answer, path, order)
    except Exception as error:
        if _out_of_memory(error, order["memory_mb"]):
            answer.send(error=MEMORY, detail="")
        elif isinstance(error, DecodeError):
            kind = "too_large" if isinstance(error, TooLargeError) else "unusable"
            answer.send(error=kind, detail=str(error).removeprefix(f"{path}: "))
        else:
            raise


def read(answer: Answer, path: Path, order: dict[str, Any]) -> None:
    """Do what the order says. Raises DecodeError, or whatever a starved library raises."""
    limits = VideoLimits(**order["limits"])
    if order["sampling"] is None:
        restrict(order["memory_mb"], order["cpu_s"])
        answer.send(length_s=probed(path, limits).duration_s)
        return
    # Only here, because it takes as long again as the start of this process.
    from serve.video.sampling import Sampling, plan_samples, sampled_frames

    restrict(order["memory_mb"], order["cpu_s"])
    with progress_of(answer, path):
        plan = plan_samples(path, Sampling(**order["sampling"]))
    answer.send(plan=asdict(plan))
    for index, timestamp_s, rgb in sampled_frames(path, plan.picks, limits):
        height, width = rgb.shape[:2]
        facts = {"frame": index, "timestamp_s": timestamp_s, "height": height, "width": width}
        answer.send(np.ascontiguousarray(rgb).data.cast("B"), **facts)
    answer.send(end=True)


def restrict(memory_mb: int, cpu_s: int) -> None:
    """From here on: bounded address space and processor time, no file written, no core dump."""
    limits = {
        resource.RLIMIT_AS: memory_mb * 1_000_000,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in limits.items():
        hard = resource.getrlimit(name)[1]
        tighter = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # Reaching the soft limit of CPU time says why; at the hard one the kernel only kills.
        resource.setrlimit(name, (tighter, hard if name == resource.RLIMIT_CPU else tighter))


@contextmanager
def progress_of(answer: Answer, path: Path) -> Iterator[None]:
    """Meanwhile tell how much of the file was read; this process ends when nobody listens."""
    done = threading.Event()
    size = max(1, path.stat().st_size)

    def tell() -> None:
        while not done.wait(PROGRESS_EVERY_S):
            try:
                answer.send(read_frac=round(min(1.0, _position(path) / size), 3))
            except OSError:
                os._exit(1)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _position(path: Path) -> int:
    """How far libav, which opened the file for itself, is in it; 0 where the system cannot tell."""
    target = path.stat().st_ino
    positions = [0]
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            if entry.stat().st_ino == target and entry.name != path.name:
                positions.append(os.lseek(int(entry.name), 0, os.SEEK_CUR))
        except OSError:
            continue
    return max(positions)


def _out_of_memory(error: BaseException, memory_mb: int) -> bool:
    """Decoders call it invalid data when they get no memory, so what was used tells more."""
    causes = (error, error.__cause__)
    starved = any(
        isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM
        for cause in causes
    )
    return starved or _peak_bytes() > (memory_mb - SPARE_MB) * 1_000_000


def _peak_bytes() -> int:
    """The largest address space this process has had; 0 where the system cannot tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmPeak:")), 0)


if __name__ == "__main__":
    main()
