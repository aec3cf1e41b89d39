"""Growth of time and memory with the number of videos: `python -m tests.bench.growth`.

Runs the stages in a temporary folder on several numbers of copies of some people of the sample,
with new names and different bytes. `evaluate` uses the detector of the last `dvc repro`. Writes
metrics/growth.json: CPU seconds and peak memory of each stage with all its processes, and the slope
of log time over log size, which is 1 for linear growth and less while start-up dominates. CPU time
is used because it depends little on the machine's other load.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.workers import worker_count
from tests.bench.process_tree import memory_bytes, processor_seconds
from tests.support.imports import ROOT

REPORT = Path("metrics/growth.json")
SAMPLE = ROOT / "data/sample/inswapper"
DETECTOR = (
    *("data/checkpoints/best_model.pt", "data/seam/trees.npz", "data/calibration.json"),
    "metrics/audit.json",
)
FOLDERS = ("original_videos", "inswapper", "uniface")
SWAPPED_ONTO_ITSELF = "self"
SAMPLING_S = 0.05
# Reduces the part of evaluate that does not depend on the size.
SMALL_EVALUATION = {"bootstrap": 100, "ladder_faces": 4}
# A stage above these limits does not scale.
MOST_SLOPE, MOST_MEMORY_GROWTH = 1.15, 1.3


@dataclass(frozen=True)
class Step:
    """A measured command. items: manifest whose number of rows is its size."""

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
    parser.add_argument("--people", type=int, default=6, help="number of people at size 1")
    parser.add_argument("--frames", type=int, default=2, help="frames per scene")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 4, 16], help="numbers of copies"
    )
    parser.add_argument("--out", type=Path, default=REPORT, help="report; default %(default)s")
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
    """Items, CPU seconds and peak MiB of every step on this number of copies."""
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
    """Videos of the first people who were swapped onto themselves, relative to SAMPLE."""
    swaps = sorted((SAMPLE / "inswapper").glob(f"*_{SWAPPED_ONTO_ITSELF}.mp4"))
    chosen = [path.stem.removesuffix(f"_{SWAPPED_ONTO_ITSELF}") for path in swaps[:people]]
    return [
        path.relative_to(SAMPLE)
        for folder in FOLDERS
        for path in sorted((SAMPLE / folder).glob("*.mp4"))
        if path.stem.removesuffix(f"_{SWAPPED_ONTO_ITSELF}") in chosen
    ]


def write_data_root(root: Path, videos: Iterable[Path], copies: int) -> None:
    """Write a data root with copies of the videos; each copy has new people, for the splits."""
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
    """An MP4 box that readers skip (ISO/IEC 14496-12), with different bytes for each number."""
    content = number.to_bytes(8, "big")
    return (8 + len(content)).to_bytes(4, "big") + b"free" + content


def run_measured(home: Path, step: Step, **variables: str) -> tuple[float, float]:
    """CPU seconds and peak MiB of a stage with all its processes, run in `home`.

    variables: added to its environment. Raises PipelineError with the stage's output if it fails.
    """
    # Copies have the same frames, so a cache would process only one of them.
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
            peak = max(peak, memory_bytes(process.pid, proportional=False))
            time.sleep(SAMPLING_S)
        seconds = processor_seconds() - started
        log.seek(0)
        if process.returncode:
            raise PipelineError(f"growth: {step.name} failed:\n{log.read()}")
    return seconds, peak / 2**20


def growth(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Runs of one stage as columns, and their growth with the size.

    slope: of a line fitted to log seconds over log items. last_slope: between the two largest
    sizes. memory_growth: ratio of the peaks at the two largest sizes.
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
    """One line per stage: CPU seconds and MiB at each size, slopes, and whether it scales."""
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
    values = "".join(f"{stage[name]:8.2f}" for name in ("slope", "last_slope", "memory_growth"))
    return values + ("" if scales else "  GROWS")


if __name__ == "__main__":
    run_stage(main)
