"""Rehearsal at RTFS-10k's kind of data: `python -m tests.rehearsal CLIPS`, writes
metrics/rehearsal.json.

Makes name-faithful clips out of the videos in CLIPS, once, then runs the data stages on them in
throw-away clones: on few clips, on those of 720p alone, on all, on all and one more video, and
once killed midway. Run it by hand (`make rehearsal`, hours) on an idle machine.
"""

import argparse
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.files import write_json
from pipeline.core.manifest import read_rows
from pipeline.inputs.videos import VIDEOS
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.workers import worker_count
from pipeline.splits.remedies import LeakRow
from tests.bench.machine import machine
from tests.rehearsal.making import make_clips
from tests.rehearsal.measuring import (
    StageRun,
    counts,
    file_count,
    folder_bytes,
    kill_midway,
    made_folders,
    reproduce,
)
from tests.rehearsal.plan import VIDEOS_PER_CLIP, Clip, Format, planned_clip
from tests.rehearsal.report import Run, report_of, table
from tests.support.clones import clone_working_tree
from tests.support.pipeline_files import locked_outputs

REPORT = Path("metrics/rehearsal.json")
ROOT = Path("data/own")
# Stages whose work depends on the size of the videos, and the folders that they fill.
KILLED = {"extract_frames": "data/frames", "crop_faces": "data/crops"}
VISUAL = ("list_inputs", *KILLED)
PACKING = tuple(f"pack_zarr@{split}" for split in ("train", "val", "test"))
AUDIT = "audit_splits"
STAGES = (*VISUAL, "split_groups", AUDIT, *PACKING)
LEAKS = Path("data/audit/leaks.csv")
FEW_FRAC = 0.1
# Each split needs a person.
FEWEST = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=__doc__)
    parser.add_argument("clips", type=Path, help="folder with videos of people")
    parser.add_argument("--videos", type=int, default=300, help="number, at least 12")
    parser.add_argument("--folder", type=Path, default=Path("data/rehearsal"))
    parser.add_argument("--make-only", action="store_true", help="make the clips, run nothing")
    args = parser.parse_args()
    clips = planned(args.videos, Format())
    made = make_clips(args.folder / "videos", args.clips, clips, worker_count())
    print(f"rehearsal: {made} of {len(clips)} clips made, with their fakes", flush=True)
    if not args.make_only:
        report = {"machine": machine(), **rehearse(args.folder, clips)}
        write_json(REPORT, report)
        print(table(report))


def planned(videos: int, wanted: Format) -> list[Clip]:
    """The clips of that many videos, and the one that comes later."""
    originals = max(videos // VIDEOS_PER_CLIP, FEWEST + 1)
    return [planned_clip(number, wanted) for number in range(originals + 1)]


def rehearse(folder: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """Run everything on the clips in folder/videos; the last is the one more."""
    *clips, extra = clips
    few = clips[: max(FEWEST, round(FEW_FRAC * len(clips)))]
    lowest = min(clip.height_px for clip in clips)
    low = [clip for clip in clips if clip.height_px == lowest][: len(few)]
    with clone_with(folder, few) as clone:
        small_run = run_on(clone, few, STAGES)
        files = {stage: file_count(clone / name) for stage, name in KILLED.items()}
        outputs = outputs_of_killed(clone)
    with clone_with(folder, few) as clone:
        killed = run_killed(clone, files)
        killed["same_outputs"] = outputs_of_killed(clone) == outputs
    with clone_with(folder, low) as clone:
        low_run = run_on(clone, low, VISUAL)
    with clone_with(folder, clips) as clone:
        whole_run = run_on(clone, clips, STAGES)
        link(folder / "videos", clone / ROOT, extra.original)
        one_more = run_again(clone, whole_run)
    return report_of(small_run, whole_run, low_run, one_more, killed)


@contextmanager
def clone_with(folder: Path, clips: Sequence[Clip]) -> Iterator[Path]:
    """A clone of the working tree whose data root holds the clips; deleted at the end."""
    clone = folder / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    try:
        clone_working_tree(clone)
        (clone / ROOT / "images").mkdir(parents=True)
        (clone / ROOT / "images.csv").write_text("path,label,source\n", encoding="utf-8")
        for clip in clips:
            for name in clip.files:
                link(folder / "videos", clone / ROOT, name)
        with edited_params(clone) as params:
            params["data"]["root"] = str(ROOT)
        yield clone
    finally:
        shutil.rmtree(clone, ignore_errors=True)


def link(source: Path, target: Path, name: Path) -> None:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    os.link(source / name, target / name)


def run_on(clone: Path, clips: Sequence[Clip], stages: Sequence[str]) -> Run:
    runs = run_stages(clone, stages)
    videos = sum(path.stat().st_size for path in (clone / ROOT / VIDEOS).rglob("*.mp4"))
    extracted = counts(runs["extract_frames"].log, "extract_frames")
    faces = counts(runs["crop_faces"].log, "crop_faces")["faces"]
    return Run(
        clips,
        videos,
        runs,
        folder_bytes(clone, made_folders(clone)),
        extracted["frames"],
        faces,
        extracted["videos"],
    )


def run_stages(clone: Path, stages: Sequence[str]) -> dict[str, StageRun]:
    runs = {}
    for stage in stages:
        runs[stage] = run = audited(clone) if stage == AUDIT else reproduce(clone, stage)
        print(
            f"rehearsal: {stage:15} {run.wall_s:7.1f} s {run.core_s:7.1f} core-s"
            f" {run.peak_mib:6.0f} MiB",
            flush=True,
        )
    return runs


def audited(clone: Path) -> StageRun:
    """Run the audit; allow the near-duplicates it finds, since the clips have few sources."""
    try:
        return reproduce(clone, AUDIT)
    except PipelineError:
        if not (clone / LEAKS).exists():
            raise
        leaks = read_rows(clone / LEAKS, LeakRow)
        print(f"rehearsal: {len(leaks)} pairs of videos are near-duplicates, which is allowed")
        with edited_params(clone) as params:
            params["audit"]["allow"] += [leak.allow for leak in leaks]
        return reproduce(clone, AUDIT)


@contextmanager
def edited_params(clone: Path) -> Iterator[dict[str, Any]]:
    path = clone / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    yield params
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def run_again(clone: Path, before: Run) -> dict[str, Any]:
    """Run all stages after a video was added; return what was processed again and its cost."""
    runs = run_stages(clone, STAGES)
    videos = counts(runs["extract_frames"].log, "extract_frames")
    frames = counts(runs["crop_faces"].log, "crop_faces")
    return {
        "videos_decoded": videos["videos"] - videos["reused"],
        "frames_searched": frames["frames"] - frames["reused"],
        "frames_added": videos["frames"] - before.frames,
        "wall_s": sum(run.wall_s for run in runs.values()),
        "core_s": sum(run.core_s for run in runs.values()),
        "core_s_by_stage": {stage: run.core_s for stage, run in runs.items()},
    }


def run_killed(clone: Path, files: dict[str, int]) -> dict[str, Any]:
    """Kill each of KILLED once half of its files exist, then run it; what the rerun used again."""
    run_stages(clone, ["list_inputs"])
    reruns = {}
    for stage, name in KILLED.items():
        kill_midway(clone, stage, name, files[stage] // 2)
        found = counts(run_stages(clone, [stage])[stage].log, stage)
        items = found["videos" if stage == "extract_frames" else "frames"]
        reruns[stage] = {"items": items, "reused": found["reused"]}
    return {"stages": reruns}


def outputs_of_killed(clone: Path) -> dict[str, Any]:
    """Hashes of the outputs of KILLED in dvc.lock."""
    outputs = locked_outputs(clone)
    return {stage: outputs[stage] for stage in KILLED}


if __name__ == "__main__":
    run_stage(main)
