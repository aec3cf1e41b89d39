"""How time and memory grow with the number of videos: `python -m tests.bench.growth`.

Copies of some people of the sample, under new names and with changed bytes, go through the stages
in a temporary folder at several sizes; `evaluate` uses the detector of the last `dvc repro`. Writes
metrics/growth.json: processor seconds and peak memory of each stage with all its processes, and the
slope of log time over log size, 1 for linear growth and less while starting up is most of it.
Processor time, because it hardly depends on what else the machine does.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.workers import worker_count
from tests.support.imports import ROOT

REPORT = Path("metrics/growth.json")
SAMPLE = ROOT / "data/sample/inswapper"
DETECTOR = ("data/checkpoints/best_model.pt", "data/seam/trees.npz", "data/calibration.json")
FOLDERS = ("original_videos", "inswapper", "uniface")
SWAPPED_ONTO_ITSELF = "self"
SAMPLING_S = 0.05
# Less of what evaluate does once, whatever the size.
SMALL_EVALUATION = {"bootstrap": 100, "ladder_faces": 4}
# Above these a stage does not scale.
MOST_SLOPE, MOST_MEMORY_GROWTH = 1.15, 1.3


@dataclass(frozen=True)
class Step:
    """A measured command. items: the manifest whose rows are its size."""

    name: str
    command: tuple[str, ...]
    items: str
    is_measured: bool = True


STEPS = (
    Step("list_inputs", ("list_inputs",), "videos.csv", is_measured=False),
    Step("extract_frames", ("extract_frames",), "videos.csv"),
    Step("crop_faces", ("crop_faces",), "raw.csv"),
    Step("split_groups", ("split_groups",), "crops.csv"),
    Step("pack_zarr test", ("pack_zarr", "test"), "../splits/test.csv"),
    Step("evaluate", ("evaluate",), "../splits/test.csv"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--people", type=int, default=6, help="people of the sample at size 1")
    parser.add_argument("--frames", type=int, default=2, help="frames of a scene")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--out", type=Path, default=REPORT)
    args = parser.parse_args()
    for needed in (SAMPLE, *(ROOT / name for name in DETECTOR)):
        if not needed.exists():
            raise PipelineError(f"{needed.relative_to(ROOT)}: not found; run `dvc repro` first")
    runs = {size: measured_size(args.people, args.frames, size) for size in args.sizes}
    report = {
        "people": args.people,
        "frames_per_scene": args.frames,
        "sizes": args.sizes,
        "processes": worker_count(),
        "stages": {
            step.name: growth([run[step.name] for run in runs.values()])
            for step in STEPS
            if step.is_measured
        },
    }
    write_json(args.out, report)
    print("\n".join(table(report)))


def measured_size(people: int, frames_per_scene: int, copies: int) -> dict[str, dict[str, float]]:
    """Items, processor seconds and peak MiB of every step on that many copies of some people."""
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        home = Path(folder)
        write_data_root(home / "data/sample", chosen_videos(people), copies)
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        params["extract_frames"]["frames_per_scene"] = frames_per_scene
        params["evaluate"] |= SMALL_EVALUATION
        (home / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        for name in DETECTOR:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / name)
        found = {}
        for step in STEPS:
            seconds, peak_mib = run_measured(home, step)
            items = len((home / "data/manifests" / step.items).read_bytes().splitlines()) - 1
            found[step.name] = {"items": items, "seconds": seconds, "peak_mib": peak_mib}
            print(f"growth: x{copies:<3} {step.name:22} {seconds:7.1f} s {peak_mib:6.0f} MiB")
    return found


def chosen_videos(people: int) -> list[Path]:
    """The videos, below SAMPLE, of the first people that were swapped onto themselves."""
    swaps = sorted((SAMPLE / "inswapper").glob(f"*_{SWAPPED_ONTO_ITSELF}.mp4"))
    chosen = [path.stem.removesuffix(f"_{SWAPPED_ONTO_ITSELF}") for path in swaps[:people]]
    return [
        path.relative_to(SAMPLE)
        for folder in FOLDERS
        for path in sorted((SAMPLE / folder).glob("*.mp4"))
        if path.stem.removesuffix(f"_{SWAPPED_ONTO_ITSELF}") in chosen
    ]


def write_data_root(root: Path, videos: Iterable[Path], copies: int) -> None:
    """Every copy shows people of its own, so that they can be split."""
    for folder in ("images", *(f"inswapper/{name}" for name in FOLDERS)):
        (root / folder).mkdir(parents=True)
    (root / "images.csv").write_text("path,label,source\n", encoding="utf-8")
    for video in videos:
        original, _, rest = video.stem.partition("_")
        for copy in range(copies):
            name = f"{original}-copy{copy}" + (f"_{rest}" if rest else "")
            target = root / "inswapper" / video.parent / f"{name}.mp4"
            target.write_bytes((SAMPLE / video).read_bytes() + free_box(copy))
            mask = SAMPLE / video.parent / "masks" / f"{video.stem}.mkv"
            if mask.exists():
                masks = target.parent / "masks"
                masks.mkdir(exist_ok=True)
                shutil.copy(mask, masks / f"{name}.mkv")


def free_box(number: int) -> bytes:
    """An MP4 box that every reader skips (ISO/IEC 14496-12), other bytes for each number."""
    content = number.to_bytes(8, "big")
    return (8 + len(content)).to_bytes(4, "big") + b"free" + content


def run_measured(home: Path, step: Step, **variables: str) -> tuple[float, float]:
    """Processor seconds and peak MiB of a stage, run in `home`, with all its processes.

    variables: added to its environment.

    Raises PipelineError with what it printed when it fails.
    """
    # Copies have the same frames: with a cache, one of them would do for all.
    uncached = {"PYTHONPATH": str(ROOT), "INSWAPPER_STAGE_CACHE": "off"}
    started = processor_seconds()
    with (home / "log.txt").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{step.command[0]}", *step.command[1:]],
            cwd=home,
            env=os.environ | uncached | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(SAMPLING_S)
        seconds = processor_seconds() - started
        log.seek(0)
        if process.returncode:
            raise PipelineError(f"growth: {step.name} failed:\n{log.read()}")
    return seconds, peak / 2**20


def processor_seconds() -> float:
    """Of all processes below this one that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident_bytes(pid: int) -> int:
    """Memory of a process and all below it; pages that they share count for each."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return sum(_own_bytes(process) for process in (top, *top.children(recursive=True)))
    return 0


def _own_bytes(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def growth(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The runs of one stage as columns, and how they grow from size to size.

    slope: of a line through log seconds over log items. last_slope: between the two largest sizes.
    memory_growth: peak at the largest size, of that at the one before.
    """
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    report: dict[str, Any] = dict(columns)
    if len(runs) > 1:
        items, seconds = np.log(columns["items"]), np.log(columns["seconds"])
        report["slope"] = float(np.polyfit(items, seconds, 1)[0])
        report["last_slope"] = float((seconds[-1] - seconds[-2]) / (items[-1] - items[-2]))
        report["memory_growth"] = columns["peak_mib"][-1] / columns["peak_mib"][-2]
    return report


def table(report: dict[str, Any]) -> list[str]:
    """A line a stage: processor seconds and MiB at each size, slopes, and whether it scales."""
    sizes = "".join(f"{f'x{size}':>8}" for size in report["sizes"])
    lines = [f"{'stage':22}{'s':>2}{sizes}   MiB{sizes}   slope    last  memory"]
    for name, stage in report["stages"].items():
        seconds = "".join(f"{value:8.1f}" for value in stage["seconds"])
        peaks = "".join(f"{value:8.0f}" for value in stage["peak_mib"])
        lines.append(f"{name:24}{seconds}      {peaks}{_slopes(stage)}")
    return lines


def _slopes(stage: dict[str, Any]) -> str:
    if "slope" not in stage:
        return ""
    scales = stage["last_slope"] <= MOST_SLOPE and stage["memory_growth"] <= MOST_MEMORY_GROWTH
    numbers = "".join(f"{stage[name]:8.2f}" for name in ("slope", "last_slope", "memory_growth"))
    return numbers + ("" if scales else "  GROWS")


if __name__ == "__main__":
    run_stage(main)
