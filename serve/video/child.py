"""Child process that reads one video, so that a crash or hang does not affect the service.

serve.video.reader starts it as `python -m serve.video.child ORDER`. ORDER is JSON: `fd`, the open
video; `memory_mb` and `cpu_s`; `limits`, the fields of VideoLimits; `sampling`, the fields of
Sampling, or null to get only the length. The process writes lines of JSON to standard output:
`length_s`; or `read_frac` during scene detection, then `plan`, then each `frame`, followed by its
pixels (height x width x 3 bytes of RGB), then `end`; or, at any time, `error` with its `detail`.
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
# When an allocation fails, less than its size is left; a frame of 8K takes 50 MB.
SPARE_MB = 64


class Output:
    """The pipe to the parent process. Everything else written to stdout goes to stderr."""

    def __init__(self) -> None:
        self._out: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def send(self, pixels: memoryview | bytes = b"", **message: Any) -> None:
        self._out.write(json.dumps(message).encode() + b"\n")
        self._out.write(pixels)
        self._out.flush()


def main() -> None:
    order = json.loads(sys.argv[1])
    output = Output()
    path = Path(f"/dev/fd/{order['fd']}")
    try:
        read(output, path, order)
    except Exception as error:
        if _out_of_memory(error, order["memory_mb"]):
            output.send(error=MEMORY, detail="")
        elif isinstance(error, DecodeError):
            kind = "too_large" if isinstance(error, TooLargeError) else "unusable"
            output.send(error=kind, detail=str(error).removeprefix(f"{path}: "))
        else:
            raise


def read(output: Output, path: Path, order: dict[str, Any]) -> None:
    """Process the order. Raises DecodeError, or any error of a library that is out of memory."""
    limits = VideoLimits(**order["limits"])
    if order["sampling"] is None:
        restrict(order["memory_mb"], order["cpu_s"])
        output.send(length_s=probed(path, limits).duration_s)
        return
    # Imported only here, because it doubles the start-up time of this process.
    from serve.video.sampling import Sampling, plan_samples, sampled_frames

    restrict(order["memory_mb"], order["cpu_s"])
    with progress_of(output, path):
        plan = plan_samples(path, Sampling(**order["sampling"]))
    output.send(plan=asdict(plan))
    for index, timestamp_s, rgb in sampled_frames(path, plan.picks, limits):
        height, width = rgb.shape[:2]
        facts = {"frame": index, "timestamp_s": timestamp_s, "height": height, "width": width}
        output.send(np.ascontiguousarray(rgb).data.cast("B"), **facts)
    output.send(end=True)


def restrict(memory_mb: int, cpu_s: int) -> None:
    """Limit address space and CPU time of this process, and forbid file writes and core dumps."""
    limits = {
        resource.RLIMIT_AS: memory_mb * 1_000_000,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in limits.items():
        hard = resource.getrlimit(name)[1]
        tighter = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At the soft limit of CPU time the kernel sends SIGXCPU, at the hard one only SIGKILL.
        resource.setrlimit(name, (tighter, hard if name == resource.RLIMIT_CPU else tighter))


@contextmanager
def progress_of(output: Output, path: Path) -> Iterator[None]:
    """Report the fraction of the file read while the block runs; exit if the parent is gone."""
    done = threading.Event()
    size = max(1, path.stat().st_size)

    def report() -> None:
        while not done.wait(PROGRESS_EVERY_S):
            try:
                output.send(read_frac=round(min(1.0, _position(path) / size), 3))
            except OSError:
                os._exit(1)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def _position(path: Path) -> int:
    """Read position of libav's own descriptor of the file; 0 on systems without /proc."""
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
    """Whether the memory limit caused the error.

    The peak usage is checked too: decoders that get no memory often report invalid data.
    """
    causes = (error, error.__cause__)
    is_memory_error = any(
        isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM
        for cause in causes
    )
    return is_memory_error or _peak_bytes() > (memory_mb - SPARE_MB) * 1_000_000


def _peak_bytes() -> int:
    """Peak address space of this process; 0 on systems without /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmPeak:")), 0)


if __name__ == "__main__":
    main()
