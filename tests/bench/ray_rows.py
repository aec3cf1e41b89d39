"""Overhead of Ray on one machine: `python -m tests.bench.ray_rows`, writes metrics/ray.json.

Runs extract_frames and crop_faces on the videos of some people of the sample, without the stage
cache: in one process, in two processes, and in two workers of a Ray that each stage starts and
stops. The runs are interleaved. Seconds are wall time including start and stop. Memory is the peak
of the resident memory summed over all processes; shared pages (Ray's object store) count once per
process.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from tests.bench.growth import SAMPLE, STEPS, chosen_videos, run_measured, write_data_root
from tests.bench.machine import machine
from tests.support.imports import ROOT

REPORT = Path("metrics/ray.json")
SEQUENTIAL = "sequential"
WAYS: Mapping[str, Mapping[str, str]] = {
    SEQUENTIAL: {"INSWAPPER_WORKERS": "1"},
    "2 processes": {"INSWAPPER_WORKERS": "2"},
    "2 Ray workers": {"INSWAPPER_WORKERS": "2", "RAY_ADDRESS": "local"},
}
# Outputs of each stage.
STAGES = {
    "extract_frames": (
        "data/frames",
        "data/manifests/raw.csv",
        "data/manifests/skipped_videos.csv",
    ),
    "crop_faces": (
        "data/crops",
        "data/manifests/crops.csv",
        "data/manifests/quality.json",
        "data/manifests/skipped_faces.csv",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ray_rows", description=__doc__)
    parser.add_argument("--people", type=int, default=6, help="number of people of the sample")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument("--out", type=Path, default=REPORT, help="report; default %(default)s")
    args = parser.parse_args()
    if not SAMPLE.exists():
        raise PipelineError(f"{SAMPLE.relative_to(ROOT)}: not found; run `dvc repro` first")
    videos = chosen_videos(args.people)
    # A short prefix, because paths of Unix sockets are limited in length.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        write_data_root(home / "data/sample", videos, 1)
        (home / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        run_measured(home, STEPS[0])
        turns = [(number, way) for number in range(args.rounds) for way in WAYS]
        runs = [run for _, way in turns for run in measured(home, way)]
    report = {
        "machine": machine(),
        "videos": len(videos),
        "rounds": args.rounds,
        "stages": {stage: compared([r for r in runs if r["stage"] == stage]) for stage in STAGES},
    }
    write_json(args.out, report)
    print("\n".join(table(report)))


def measured(home: Path, way: str) -> list[dict[str, Any]]:
    """Run both stages and measure seconds, CPU seconds, peak MiB and digest of the outputs."""
    runs = []
    for step in STEPS:
        if step.name in STAGES:
            started = time.perf_counter()
            cpu_s, peak_mib = run_measured(home, step, RAY_TMPDIR=str(home), **WAYS[way])
            run = {"stage": step.name, "way": way, "seconds": time.perf_counter() - started}
            digest = digest_of(home, STAGES[step.name])
            runs.append(run | {"cpu_s": cpu_s, "peak_mib": peak_mib, "digest": digest})
            print(f"ray_rows: {step.name:15} {way:14} {run['seconds']:7.1f} s {peak_mib:6.0f} MiB")
    return runs


def digest_of(home: Path, outputs: Sequence[str]) -> str:
    """SHA-256 over names and contents of these files and of all files in these folders."""
    digest = hashlib.sha256()
    roots = [home / name for name in outputs]
    files = [path for root in roots for path in (root, *root.rglob("*")) if path.is_file()]
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(home).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def compared(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of one stage for each way, and its time relative to the sequential way.

    same_bytes: whether all runs wrote the same bytes.
    """
    ways: dict[str, Any] = {}
    for way in WAYS:
        columns = {
            name: [run[name] for run in runs if run["way"] == way]
            for name in ("seconds", "cpu_s", "peak_mib")
        }
        ways[way] = {name: float(np.median(values)) for name, values in columns.items()}
        ways[way]["all_seconds"] = columns["seconds"]
    for way in ways.values():
        way["ratio"] = way["seconds"] / ways[SEQUENTIAL]["seconds"]
    return {"ways": ways, "same_bytes": len({run["digest"] for run in runs}) == 1}


def table(report: dict[str, Any]) -> list[str]:
    """Markdown table with one row per stage and way."""
    lines = ["| stage | run in | time | CPU time | peak memory | same bytes |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for stage, found in report["stages"].items():
        same = "yes" if found["same_bytes"] else "**no**"
        for name, way in found["ways"].items():
            lines.append(
                f"| `{stage}` | {name} | {way['seconds']:.1f} s, {way['ratio']:.2f} of sequential"
                f" | {way['cpu_s']:.1f} s | {way['peak_mib']:.0f} MiB | {same} |"
            )
    return lines


if __name__ == "__main__":
    run_stage(main)
