"""Fuzzing of the decoders with mutated files: `python -m tests.bench.fuzz --seconds 600`.

Each input must be decoded or refused with a DecodeError, within limits of time and memory. Decoding
runs in a child process, so that crashes and hangs are reported as well. Input number N always has
the same bytes: `--first N --count 1` reproduces a finding, and `--save FILE` writes its bytes.
"""

import argparse
import io
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.frames.scenes import detect_scenes
from pipeline.media.video import probe
from pipeline.runtime.errors import DecodeError
from serve.detector.images import decode_image, is_image
from serve.video.files import is_video
from tests.support.damaged_files import image_seeds, mutated, video_seeds

MAX_PIXELS = 1_000_000
MOST_CPU_S = 5.0
HANG_S = 60.0
MOST_MEMORY_MB = 512
# Protects the machine that runs this.
ADDRESS_SPACE_BYTES = 8 * 1024**3


def seeds_of(kind: str) -> list[bytes]:
    """Files to mutate. kind: "images" or "videos"."""
    return list((image_seeds if kind == "images" else video_seeds)().values())


def fuzz(kind: str, first: int, count: int, seconds: float) -> Iterator[tuple[int, str]]:
    """Yield (number, fault or "") for inputs `first` to `first + count - 1`, while time is left.

    `mutated(seeds_of(kind), number)` reproduces an input.
    """
    deadline = time.monotonic() + seconds
    number, stop = first, first + count
    while number < stop and time.monotonic() < deadline:
        for report in _reports_of_a_child(kind, number, stop, deadline):
            yield report
            number = report[0] + 1


def _reports_of_a_child(
    kind: str, first: int, stop: int, deadline: float
) -> Iterator[tuple[int, str]]:
    """Reports of one child process, followed by one for a crash or hang of the process itself."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_examine_all, args=(kind, first, stop, deadline, sending))
    child.start()
    sending.close()
    number = first
    try:
        while receiving.poll(HANG_S):
            number, fault = receiving.recv()
            yield number, fault
            number += 1
        child.kill()
        yield number, f"no response within {HANG_S:g} s"
    except EOFError:
        child.join()
        if child.exitcode:
            yield number, f"the process exited with {child.exitcode}"


def _examine_all(kind: str, first: int, stop: int, deadline: float, reports: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    # Pillow warns and libtiff prints about nearly every damaged TIFF.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    seeds = seeds_of(kind)
    examine = _decode_image if kind == "images" else _decode_video
    for seed in seeds:  # the memory of the unmodified files is the baseline
        examine(seed)
    baseline_mb = _peak_mb()
    for number in range(first, stop):
        if time.monotonic() > deadline:
            return
        fault = _fault(examine, mutated(seeds, number), baseline_mb)
        reports.send((number, fault))
        if fault.endswith("MB"):
            return  # the peak never falls, so the next input needs a new process


def _fault(examine: Callable[[bytes], None], content: bytes, baseline_mb: float) -> str:
    started = time.process_time()
    try:
        examine(content)
    except DecodeError:
        pass
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    cpu_s, memory_mb = time.process_time() - started, _peak_mb() - baseline_mb
    if cpu_s > MOST_CPU_S:
        return f"took {cpu_s:.1f} s"
    return f"took {memory_mb:.0f} MB" if memory_mb > MOST_MEMORY_MB else ""


def _decode_image(content: bytes) -> None:
    if is_image(io.BytesIO(content)):
        decode_image(io.BytesIO(content), MAX_PIXELS)


def _decode_video(content: bytes) -> None:
    """Check, probe, then read the whole video, as scene detection does."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        path = Path(file.name)
        if is_video(path):
            probe(path)
            detect_scenes(path, 0.35, min_scene_s=0.0, threads=1)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="total time, split by kind")
    parser.add_argument(
        "--kind", choices=["images", "videos"], action="append", help="default: both"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="number of inputs")
    parser.add_argument("--save", type=Path, help="write the first input to this file")
    arguments = parser.parse_args()
    kinds = arguments.kind or ["images", "videos"]
    if arguments.save:
        arguments.save.write_bytes(mutated(seeds_of(kinds[0]), arguments.first))
    faults = 0
    for kind in kinds:
        seconds, examined = arguments.seconds / len(kinds), 0
        for number, fault in fuzz(kind, arguments.first, arguments.count, seconds):
            examined += 1
            if fault:
                faults += 1
                print(f"{kind} {number}: {fault}", flush=True)
        print(f"{examined} {kind} examined", flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
