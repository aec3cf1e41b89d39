"""tests.rehearsal.report: costs recovered from runs, and what follows for RTFS-10k."""

from collections.abc import Sequence

import pytest

from tests.rehearsal.__main__ import STAGES, VISUAL, planned
from tests.rehearsal.measuring import DVC_CACHE, STAGES_CACHE, StageRun
from tests.rehearsal.plan import VIDEOS_PER_CLIP, Clip, Format, seconds_of
from tests.rehearsal.report import (
    ASSUMPTION,
    PARALLEL,
    RTFS_VIDEOS,
    Run,
    costs,
    hours,
    line,
    report_of,
    table,
)

FOLDERS = ("data/frames", "data/zarr", DVC_CACHE, STAGES_CACHE)
CLIPS = planned(300, Format())[:-1]
FEW, LOW = CLIPS[:10], [clip for clip in CLIPS if clip.height_px == 720][:10]
START_S, CORE_S = 4.0, {720: 0.3, 1080: 0.7}


def made_run(clips: Sequence[Clip], stages: Sequence[str], mib_per_video: float = 0.0) -> Run:
    """Stages that cost START_S and, if they see videos, CORE_S per second of them."""

    def stage_run(stage: str) -> StageRun:
        work = sum(cost * seconds_of(clips, height) for height, cost in CORE_S.items())
        core_s = START_S + (work if stage in VISUAL else 0.1 * seconds_of(clips))
        return StageRun(core_s / 2, core_s, 300 + mib_per_video * VIDEOS_PER_CLIP * len(clips), "")

    videos = VIDEOS_PER_CLIP * len(clips)
    made = dict.fromkeys(FOLDERS, 1000 * videos)
    runs = {stage: stage_run(stage) for stage in stages}
    return Run(clips, 4000 * videos, runs, made, 8 * videos, 7 * videos, videos)


def test_a_line_through_two_points() -> None:
    assert line((10, 7.0), (30, 11.0)) == pytest.approx((5, 0.2))


def test_costs_by_height_are_recovered() -> None:
    found = costs(made_run(FEW, STAGES), made_run(CLIPS, STAGES), made_run(LOW, VISUAL))
    extract = found["extract_frames"]
    assert extract["start_core_s"] == pytest.approx(START_S)
    assert extract["core_s_per_10_s_720p"] == pytest.approx(3)
    assert extract["core_s_per_10_s_1080p"] == pytest.approx(7)
    assert found["pack_zarr@val"]["core_s_per_10_s_1080p"] == pytest.approx(1)
    assert found["all"]["core_s_per_10_s_720p"] == pytest.approx(3 * len(VISUAL) + 5)
    per_video = sum(found[stage]["core_s_per_video"] for stage in STAGES)
    assert found["all"]["core_s_per_video"] == pytest.approx(per_video)
    assert extract["core_s_per_video"] == pytest.approx(8 * extract["core_s_per_frame"])


def test_only_stages_with_workers_use_more_cores() -> None:
    core_s = {"extract_frames": 3600.0, "pack_zarr@val": 1800.0}
    assert hours(core_s, 2) == pytest.approx(1)
    assert hours(core_s, 16) == pytest.approx(1 / 16 + 0.5)
    assert set(PARALLEL) <= set(STAGES)
    assert all(stage in ASSUMPTION for stage in PARALLEL)


@pytest.mark.parametrize(("mib_per_video", "verdict"), [(0, "met"), (1, "MISSED")])
def test_targets_and_the_full_size(mib_per_video: float, verdict: str) -> None:
    small, whole = (made_run(clips, STAGES, mib_per_video) for clips in (FEW, 10 * FEW))
    one_more = {"videos_decoded": 1, "frames_searched": 8, "frames_added": 8, "wall_s": 60.0}
    killed = {"stages": {"crop_faces": {"items": 9, "reused": 4}}, "same_outputs": True}
    report = report_of(small, whole, made_run(LOW, VISUAL), one_more, killed)
    full, targets = report["rtfs_10k"], report["targets"]
    assert full["bytes_in_all"] == pytest.approx(len(FOLDERS) * 1000 * RTFS_VIDEOS)
    core_s = START_S + 0.1 * seconds_of(FEW) / (VIDEOS_PER_CLIP * len(FEW)) * RTFS_VIDEOS
    assert full["core_s"]["split_groups"] == pytest.approx(core_s)
    # Two folders of data/ and DVC's cache, 1,000 bytes each, for videos of 4,000.
    assert targets["multiple"] == {"limit": 6, "measured": 1.75, "met": True}
    assert targets["memory_growth"]["met"] == (verdict == "met")
    assert targets["one_more_frames_searched"]["met"]
    lines = table(report).splitlines()
    assert any(row.startswith("memory_growth") and row.endswith(verdict) for row in lines)
    assert any(row.startswith("crop_faces killed midway: the rerun used 4 of 9") for row in lines)
