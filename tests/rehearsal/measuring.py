"""Cost of a stage: time and memory of its process tree, and the bytes that it writes."""

import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.cache import VARIABLE as STAGE_CACHE
from pipeline.runtime.errors import PipelineError
from tests.bench.process_tree import memory_bytes, processor_seconds
from tests.support.clones import environment

DATA, DVC_CACHE, STAGES_CACHE = "data", ".dvc/cache", ".dvc/tmp/stages"
# Folders of data/ that no stage writes: the data root of the clones, and what Git keeps.
GIVEN = ("own", "release")
SAMPLING_S = 0.25
LOG = "rehearsal.tmp"


@dataclass(frozen=True)
class StageRun:
    """One `dvc repro` of a stage: DVC, the stage and its workers. core_s: user and system time.

    peak_mib: largest sum over the processes; a page that n of them share counts as 1/n in each.
    """

    wall_s: float
    core_s: float
    peak_mib: float
    log: str


def reproduce(clone: Path, stage: str) -> StageRun:
    """Run a stage with `dvc repro` in a clone. Raises PipelineError with its output if it fails."""
    earlier_s, started = processor_seconds(), time.perf_counter()
    process = _start(clone, stage)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_bytes(process.pid, proportional=True))
        time.sleep(SAMPLING_S)
    wall_s, core_s = time.perf_counter() - started, processor_seconds() - earlier_s
    log = (clone / LOG).read_text(encoding="utf-8")
    if process.returncode:
        raise PipelineError(f"rehearsal: {stage} failed:\n{log}")
    return StageRun(wall_s, core_s, peak / 2**20, log)


def kill_midway(clone: Path, stage: str, folder: str, files: int) -> None:
    """Start a stage; kill DVC, the stage and its workers together once `folder` has `files` files.

    Raises PipelineError if the stage ends before that.
    """
    process = _start(clone, stage)
    while process.poll() is None:
        if file_count(clone / folder) >= files:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return
        time.sleep(SAMPLING_S)
    raise PipelineError(f"rehearsal: {stage} ended too early to be killed")


def _start(clone: Path, stage: str) -> subprocess.Popen[bytes]:
    variables = {name: text for name, text in environment().items() if name != STAGE_CACHE}
    with (clone / LOG).open("wb") as log:
        return subprocess.Popen(
            ["dvc", "repro", "--single-item", stage],
            cwd=clone,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def made_folders(clone: Path) -> list[str]:
    """Folders that the stages and DVC wrote, DVC's and the stages' cache last."""
    folders = sorted(path.name for path in (clone / DATA).iterdir() if path.is_dir())
    made = [f"{DATA}/{name}" for name in folders if name not in GIVEN]
    return [*made, DVC_CACHE, STAGES_CACHE]


def folder_bytes(root: Path, folders: Iterable[str]) -> dict[str, int]:
    """Size of the files in each folder; hard links of a file count once, in the first folder."""
    seen: set[tuple[int, int]] = set()
    sizes = dict.fromkeys(folders, 0)
    for folder in sizes:
        for path in sorted((root / folder).rglob("*")):
            found = path.lstat()
            inode = (found.st_dev, found.st_ino)
            if stat.S_ISREG(found.st_mode) and inode not in seen:
                seen.add(inode)
                sizes[folder] += found.st_size
    return sizes


def file_count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def counts(log: str, stage: str) -> dict[str, int]:
    """Numbers of a stage's closing line, e.g. {"videos": 3, "reused": 1, "frames": 18}.

    Raises PipelineError without a line `STAGE: N things, M reused ...`.
    """
    lines = re.findall(rf"^{stage}: (.*\breused\b.*)$", log.replace("\r", "\n"), re.MULTILINE)
    if not lines:
        raise PipelineError(f"rehearsal: {stage} did not say what it reused:\n{log}")
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", lines[-1])}
