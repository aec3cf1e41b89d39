"""The rehearsal's report: what the runs cost by video, second and frame, and at RTFS-10k's size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.rehearsal.measuring import STAGES_CACHE, StageRun
from tests.rehearsal.plan import Clip, seconds_of

RTFS_VIDEOS, RTFS_BYTES = 11_408, 17.6e9
CORES = (2, 16)
# Stages with worker processes; the others use one core.
PARALLEL = ("extract_frames", "crop_faces", "audit_splits")
ASSUMPTION = (
    "videos as long and large as these, with as many frames; core-seconds grow linearly from"
    f" the small to the whole run; {', '.join(PARALLEL)} keep all cores busy, other stages one"
)
MOST_MULTIPLE, MOST_CORE_S, MOST_GROWTH = 6.0, 5.0, 1.2


@dataclass(frozen=True)
class Run:
    """Stages run on some clips. video_bytes, bytes: of the videos, and of each folder made."""

    clips: Sequence[Clip]
    video_bytes: int
    stages: Mapping[str, StageRun]
    bytes: Mapping[str, int]
    frames: int
    faces: int
    videos: int

    @property
    def seconds(self) -> int:
        return seconds_of(self.clips)

    @property
    def multiple(self) -> float:
        """Bytes under data/, with the videos, and in DVC's cache, relative to the videos."""
        made = sum(self.bytes.values()) - self.bytes[STAGES_CACHE]
        return 1 + made / self.video_bytes

    @property
    def multiple_in_all(self) -> float:
        """The same with the stage cache."""
        return 1 + sum(self.bytes.values()) / self.video_bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "videos": self.videos,
            "seconds": self.seconds,
            "seconds_by_height": {
                str(height): seconds_of(self.clips, height)
                for height in sorted({clip.height_px for clip in self.clips})
            },
            "frames": self.frames,
            "faces": self.faces,
            "video_bytes": self.video_bytes,
            "bytes": dict(self.bytes),
            "multiple": self.multiple,
            "multiple_with_stage_cache": self.multiple_in_all,
            "stages": {
                name: {"wall_s": run.wall_s, "core_s": run.core_s, "peak_mib": run.peak_mib}
                for name, run in self.stages.items()
            },
        }


@dataclass(frozen=True)
class Cost:
    """Core-seconds of a stage. start: whatever the data. per_10_s: of video, beyond the start.

    by_height: the same by the height of the videos.
    """

    start: float
    per_10_s: float
    by_height: Mapping[int, float]


def line(small: tuple[float, float], large: tuple[float, float]) -> tuple[float, float]:
    """Intercept and slope of the line through two points (x, y)."""
    slope = (large[1] - small[1]) / (large[0] - small[0])
    return small[1] - slope * small[0], slope


def stage_cost(stage: str, small: Run, whole: Run, low: Run) -> Cost:
    """Cost of a stage from runs on few and on all clips, and on clips of the lowest height alone.

    A stage that was not run on the last does not depend on the height.
    """
    runs = [run for run in (small, whole, low) if stage in run.stages]
    heights = sorted({clip.height_px for clip in whole.clips})
    seconds = [[seconds_of(run.clips, height) for height in heights] for run in runs]
    if stage not in low.stages:
        seconds = [[sum(row)] for row in seconds]
    equations = np.array([[1, *row] for row in seconds], np.float64)
    spent = [run.stages[stage].core_s for run in runs]
    start, *per_s = np.linalg.lstsq(equations, spent)[0].tolist()
    by_height = dict(zip(heights, per_s * len(heights), strict=False))
    mean = sum(by_height[clip.height_px] * clip.seconds for clip in whole.clips) / whole.seconds
    return Cost(start, 10 * mean, {height: 10 * cost for height, cost in by_height.items()})


def costs(small: Run, whole: Run, low: Run) -> dict[str, dict[str, Any]]:
    """By stage, and in all: core-seconds by second of video, by video and by sampled frame."""
    by_stage = {stage: stage_cost(stage, small, whole, low) for stage in whole.stages}
    rows = {
        stage: _row(cost, whole.stages[stage].core_s, whole) for stage, cost in by_stage.items()
    }
    names = next(iter(rows.values())).keys()
    total = {name: sum(row[name] for row in rows.values()) for name in names}
    return {**rows, "all": total}


def _row(cost: Cost, core_s: float, whole: Run) -> dict[str, float]:
    return {
        "start_core_s": cost.start,
        "core_s_per_10_s": cost.per_10_s,
        **{f"core_s_per_10_s_{height}p": value for height, value in cost.by_height.items()},
        "core_s_per_video": core_s / whole.videos,
        "core_s_per_frame": core_s / whole.frames,
    }


def memory_growth(small: Run, whole: Run) -> dict[str, float]:
    """Peak of each stage on all clips relative to that on few."""
    return {
        stage: run.peak_mib / small.stages[stage].peak_mib for stage, run in whole.stages.items()
    }


def at_full_size(small: Run, whole: Run) -> dict[str, Any]:
    """Bytes and hours that follow for RTFS-10k."""
    core_s = {}
    for stage in whole.stages:
        points = [(run.videos, run.stages[stage].core_s) for run in (small, whole)]
        start, slope = line(*points)
        core_s[stage] = start + slope * RTFS_VIDEOS
    made = {folder: size / whole.videos * RTFS_VIDEOS for folder, size in whole.bytes.items()}
    return {
        "videos": RTFS_VIDEOS,
        "video_bytes": RTFS_BYTES,
        "video_bytes_as_here": whole.video_bytes / whole.videos * RTFS_VIDEOS,
        "bytes": made,
        "bytes_in_all": sum(made.values()),
        "multiple": 1 + (sum(made.values()) - made[STAGES_CACHE]) / RTFS_BYTES,
        "frames": round(whole.frames / whole.videos * RTFS_VIDEOS),
        "core_s": core_s,
        "hours": {str(cores): hours(core_s, cores) for cores in CORES},
        "assumption": ASSUMPTION,
    }


def hours(core_s: Mapping[str, float], cores: int) -> float:
    """Hours that stages of these core-seconds take, one after the other."""
    return (
        sum(seconds / (cores if stage in PARALLEL else 1) for stage, seconds in core_s.items())
        / 3600
    )


def target(limit: float, measured: float) -> dict[str, Any]:
    return {"limit": limit, "measured": measured, "met": measured <= limit}


def report_of(
    small: Run, whole: Run, low: Run, one_more: Mapping[str, Any], killed: Mapping[str, Any]
) -> dict[str, Any]:
    """The report but for the machine."""
    cost, growth = costs(small, whole, low), memory_growth(small, whole)
    lowest = f"core_s_per_10_s_{min(clip.height_px for clip in whole.clips)}p"
    return {
        "people": len({clip.person for clip in whole.clips}),
        "runs": {"small": small.to_json(), "whole": whole.to_json(), "low": low.to_json()},
        "costs": cost,
        "bytes_per_video": {name: size / whole.videos for name, size in whole.bytes.items()},
        "bytes_per_frame": {name: size / whole.frames for name, size in whole.bytes.items()},
        "memory_growth": growth,
        "one_more": one_more,
        "killed": killed,
        "rtfs_10k": at_full_size(small, whole),
        "targets": {
            "multiple": target(MOST_MULTIPLE, whole.multiple),
            lowest: target(MOST_CORE_S, cost["all"][lowest]),
            "memory_growth": target(MOST_GROWTH, max(growth.values())),
            "one_more_videos_decoded": target(1, one_more["videos_decoded"]),
            "one_more_frames_searched": target(
                one_more["frames_added"], one_more["frames_searched"]
            ),
        },
    }


def table(report: Mapping[str, Any]) -> str:
    """The report as aligned text."""
    runs, cost = report["runs"], report["costs"]
    whole, small = runs["whole"], runs["small"]
    columns = [name for name in cost["all"] if name != "start_core_s"]
    shown = [name.removeprefix("core_s_per_").replace("_", " ") for name in columns]
    heads = ["wall s", "core s", *shown, "MiB", f"MiB, {small['videos']}"]
    size = f"{whole['videos']} videos, {whole['seconds']} s, {whole['frames']} frames"
    lines = [f"{size}; core-s per", f"{'':16}" + "".join(f"{head:>11}" for head in heads)]
    for stage, run in whole["stages"].items():
        values = [run["wall_s"], run["core_s"], *(cost[stage][name] for name in columns)]
        values += [run["peak_mib"], small["stages"][stage]["peak_mib"]]
        lines.append(f"{stage:16}" + "".join(f"{value:11.4g}" for value in values))
    totals = [sum(run[name] for run in whole["stages"].values()) for name in ("wall_s", "core_s")]
    totals += [cost["all"][name] for name in columns]
    lines.append(f"{'all':16}" + "".join(f"{value:11.4g}" for value in totals))
    return "\n".join([*lines, "", *_bytes(report), "", *_conclusions(report)])


def _bytes(report: Mapping[str, Any]) -> list[str]:
    whole, full = report["runs"]["whole"], report["rtfs_10k"]
    sizes = {"the videos": whole["video_bytes"], **whole["bytes"]}
    there = {"the videos": full["video_bytes_as_here"], **full["bytes"]}
    heads = ("MB", "x videos", "kB/frame", "GB, RTFS-10k")
    lines = [f"{'':16}" + "".join(f"{head:>13}" for head in heads)]
    for name, size in sizes.items():
        values = (size / 1e6, size / whole["video_bytes"], size / whole["frames"] / 1e3)
        row = "".join(f"{value:13.4g}" for value in (*values, there[name] / 1e9))
        lines.append(f"{name:16}{row}")
    return lines


def _conclusions(report: Mapping[str, Any]) -> list[str]:
    full, more, killed = report["rtfs_10k"], report["one_more"], report["killed"]
    lines = [
        f"one more video: {more['videos_decoded']} decoded, {more['frames_searched']} frames"
        f" searched, {more['wall_s']:.0f} s",
        *(
            f"{stage} killed midway: the rerun used {found['reused']} of {found['items']} again"
            for stage, found in killed["stages"].items()
        ),
        f"outputs after it are the same: {killed['same_outputs']}",
        f"RTFS-10k, {full['videos']} videos: {full['bytes_in_all'] / 1e9:.0f} GB made, "
        + ", ".join(f"{value:.1f} h on {cores} cores" for cores, value in full["hours"].items()),
    ]
    for name, goal in report["targets"].items():
        verdict = "met" if goal["met"] else "MISSED"
        lines.append(f"{name:32} {goal['measured']:8.3g}  <= {goal['limit']:<6g} {verdict}")
    return lines
