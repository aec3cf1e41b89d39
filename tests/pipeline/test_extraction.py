"""pipeline.frames.extraction: written and skipped frames; fakes follow their originals."""

import shutil
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.manifest import FrameRow, InputRow, SkipRow, read_rows
from pipeline.frames.extraction import Extraction, extract_frames, require_few_skipped
from pipeline.media.frame_files import read_frame
from pipeline.media.video import read_frames
from pipeline.media.video_writer import write_mask_video
from pipeline.runtime.errors import SkipLimitError
from pipeline.runtime.sections import ExtractFramesParams
from tests.support.anamorphic import write_anamorphic
from tests.support.imports import ROOT
from tests.support.stage_runs import run_stage
from tests.support.synthetic import (
    draw_clip,
    input_row,
    write_clip,
    write_data_root,
    write_swapped_clip,
)

PARAMS = ExtractFramesParams(
    frames_per_scene=3, scene_threshold=0.35, min_scene_s=0.4, max_skip_frac=0.1
)


pytestmark = pytest.mark.usefixtures("in_tmp_path")


def real(stem: str, **clip: int) -> InputRow:
    path = Path("in") / f"{stem}.mp4"
    write_clip(path, draw_clip(len(stem), **clip))
    return input_row(video_id=stem, identity_id=stem, path=path.as_posix())


def fake(stem: str, original: str, fps: int = 25, **clip: int) -> InputRow:
    path = Path("in") / "fakes" / f"{stem}.mp4"
    write_swapped_clip(path, draw_clip(len(original), **clip), 50, fps=fps)
    return input_row(
        video_id=f"inswapper/{stem}",
        identity_id=original,
        original_video_id=original,
        label=1,
        fake_type="inswapper",
        is_inswapper=1,
        path=path.as_posix(),
        mask_path=f"in/fakes/masks/{stem}.mkv",
    )


def broken(stem: str) -> InputRow:
    path = Path("in") / f"{stem}.mp4"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"this is no video")
    return input_row(video_id=stem, identity_id=stem, path=path.as_posix())


def extract(*videos: InputRow) -> Extraction:
    return extract_frames(videos, Path("frames"), PARAMS, 1)


def indices(result: Extraction, video_id: str) -> list[tuple[int, int]]:
    return [(row.scene, row.frame_index) for row in result.rows if row.video_id == video_id]


def stored_frame(row: FrameRow) -> np.ndarray:
    return read_frame(Path(row.frame_path))


def stored_mask(row: FrameRow) -> np.ndarray:
    return np.asarray(Image.open(row.mask_path).convert("L"))


def written() -> list[str]:
    return sorted(path.as_posix() for path in Path("frames").rglob("*") if path.is_file())


def test_frames_of_every_scene() -> None:
    result = extract(real("a", scenes=2, frames_per_scene=12))
    assert result.skipped == []
    assert indices(result, "a") == [(0, 2), (0, 6), (0, 9), (1, 14), (1, 18), (1, 21)]
    assert result.rows[1].model_dump() == {
        "video_id": "a",
        "source": "videos",
        "label": 0,
        "fake_type": "real",
        "is_inswapper": 0,
        "identity_id": "a",
        "source_identity_id": "",
        "original_video_id": "",
        "source_photo": "",
        "frame_path": "frames/a/000_000006.mkv",
        "mask_path": "",
        "scene": 0,
        "frame_index": 6,
        "timestamp_s": 0.24,
    }
    assert written() == [row.frame_path for row in result.rows]


def test_long_names_give_frames_of_their_own() -> None:
    """videos.csv may give a video any name."""
    video = real("a")
    names = ["b" * 255, "b" * 256, "b" * 257, "ä" * 128, "c/" * 600 + "c"]
    result = extract(*(video.model_copy(update={"video_id": name}) for name in names))
    assert list(dict.fromkeys(row.video_id for row in result.rows)) == names
    assert written() == sorted(row.frame_path for row in result.rows)
    assert result.rows[0].frame_path.startswith(f"frames/{names[0]}/")


def test_frames_are_stored_losslessly() -> None:
    video = real("a")
    result = extract(video)
    stored = {row.frame_index: stored_frame(row) for row in result.rows}
    for index, _, rgb in read_frames(Path(video.path), stored):
        assert np.array_equal(stored[index], rgb)


def test_a_fake_is_sampled_at_the_frames_of_its_original() -> None:
    """The fake alone would be one scene, because its walls look the same."""
    original = real("a", scenes=2, frames_per_scene=12)
    copy = fake("a_x", "a", scenes=1, frames_per_scene=24)
    result = extract(copy, original)
    assert indices(result, "inswapper/a_x") == indices(result, "a")
    assert [row.video_id for row in result.rows[:6]] == ["inswapper/a_x"] * 6
    assert indices(extract(copy), "inswapper/a_x") == [(0, 4), (0, 12), (0, 19)]


def test_masks_are_written_next_to_the_frames() -> None:
    video = fake("a", "a")
    result = extract(real("a"), video)
    rows = [row for row in result.rows if row.label]
    masks = {
        index: mask for index, _, mask in read_frames(Path(video.mask_path), pixel_format="gray")
    }
    for row in rows:
        assert row.mask_path == row.frame_path.replace(".mkv", ".mask.webp")
        assert np.array_equal(stored_mask(row), masks[row.frame_index])
    assert all(row.mask_path == "" for row in result.rows if not row.label)


def test_a_fake_at_another_frame_rate_is_sampled_independently() -> None:
    original = real("a", scenes=1, frames_per_scene=24)
    result = extract(original, fake("a", "a", fps=50, scenes=1, frames_per_scene=44))
    assert indices(result, "a") == [(0, 4), (0, 12), (0, 19)]
    assert indices(result, "inswapper/a") == [(0, 8), (0, 22), (0, 36)]


def test_a_fake_of_a_broken_original_is_sampled_independently() -> None:
    result = extract(broken("a"), fake("a", "a", scenes=1, frames_per_scene=24))
    assert indices(result, "inswapper/a") == [(0, 4), (0, 12), (0, 19)]
    assert [row.video_id for row in result.skipped] == ["a"]


def test_a_shorter_fake_gives_its_available_frames() -> None:
    original = real("a", scenes=2, frames_per_scene=12)
    shorter = fake("a", "a", scenes=1, frames_per_scene=12)
    assert indices(extract(original, shorter), "inswapper/a") == [(0, 2), (0, 6), (0, 9)]
    tiny = fake("a", "a", scenes=1, frames_per_scene=2)
    (skip,) = extract(original, tiny).skipped
    assert (skip.video_id, skip.reason, skip.detail) == (
        "inswapper/a",
        "too_short",
        "has no frame 2",
    )


def test_unreadable_videos_are_skipped_rows() -> None:
    short = real("brief", scenes=1, frames_per_scene=5)
    result = extract(broken("bad"), real("a"), short)
    assert {row.video_id for row in result.rows} == {"a"}
    assert [(row.path, row.video_id, row.stage, row.reason) for row in result.skipped] == [
        ("in/bad.mp4", "bad", "extract_frames", "decode_error"),
        ("in/brief.mp4", "brief", "extract_frames", "too_short"),
    ]
    assert "in/bad.mp4" in result.skipped[0].detail
    assert result.skipped[1].detail == "has no scene of 0.4 s"


def test_a_mask_that_does_not_fit_leaves_no_files() -> None:
    video = fake("a", "a", scenes=1, frames_per_scene=24)
    mask = np.zeros((160, 208), np.uint8)
    write_mask_video(Path(video.mask_path), [mask] * 10, 25)
    (skip,) = extract(video).skipped
    assert skip.reason == "decode_error"
    assert skip.detail == "in/fakes/masks/a.mkv: has fewer frames than in/fakes/a.mp4"
    assert written() == []
    write_mask_video(Path(video.mask_path), [mask[:100]] * 24, 25)
    (skip,) = extract(video).skipped
    assert "frame 4 of (100, 208) does not fit the video's frame 4 of (160, 208)" in skip.detail


@pytest.mark.parametrize("mask_width", [104, 208], ids=["stored", "displayed"])
def test_masks_fit_frames_of_pixels_that_are_not_square(mask_width: int) -> None:
    """The mask is drawn on the stored or on the displayed frames and declares no aspect."""
    video = fake("a", "a", scenes=1, frames_per_scene=24)
    stored = [face.rgb[:, ::2].copy() for face in draw_clip(1, scenes=1, frames_per_scene=24)]
    write_anamorphic(Path(video.path), stored, Fraction(2))
    mask = np.zeros((160, mask_width), np.uint8)
    mask[:, : mask_width // 2] = 255
    write_mask_video(Path(video.mask_path), [mask] * 24, 25)
    result = extract(video)
    assert result.skipped == []
    for row in result.rows:
        assert stored_frame(row).shape == (160, 208, 3)
        columns = stored_mask(row).mean(axis=0)
        assert (columns.shape, columns[100], columns[108]) == ((208,), 255, 0)


def test_no_videos() -> None:
    assert extract() == Extraction([], [])


def test_skip_limit() -> None:
    skip = SkipRow(
        path="a.mp4",
        video_id="a",
        stage="extract_frames",
        reason="too_short",
        detail="has no scene of 1 s",
    )
    listed_in = Path("data/manifests/skipped_videos.csv")
    require_few_skipped([skip], 10, 0.1, listed_in)
    require_few_skipped([], 0, 0.0, listed_in)
    with pytest.raises(SkipLimitError) as raised:
        require_few_skipped([skip], 9, 0.1, listed_in)
    assert str(raised.value) == (
        "extract_frames: 1 of 9 videos were skipped, above extract_frames.max_skip_frac 0.1;"
        " data/manifests/skipped_videos.csv lists them, the first: a.mp4 (too_short:"
        " has no scene of 1 s)"
    )


@pytest.mark.slow
def test_the_stage(tmp_path: Path) -> None:
    write_data_root(Path("data/sample"), people=2, scenes=1)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    Path("data/frames/old").mkdir(parents=True)
    assert run_stage(tmp_path, "list_inputs", INSWAPPER_WORKERS="1").returncode == 0
    done = run_stage(tmp_path, "extract_frames", INSWAPPER_WORKERS="1")
    assert (done.returncode, done.stderr) == (0, "")
    # Both swaps of p0 have the same bytes in this data.
    assert done.stdout == "extract_frames: 5 videos, 1 reused, 5 scenes, 30 frames\n"
    assert not Path("data/frames/old").exists()
    rows = read_rows(Path("data/manifests/raw.csv"), FrameRow)
    assert len(rows) == 30
    assert all(Path(row.frame_path).is_file() for row in rows)

    Path("data/sample/inswapper/original_videos/p1.mp4").write_bytes(b"damaged")
    assert run_stage(tmp_path, "list_inputs", INSWAPPER_WORKERS="1").returncode == 0
    done = run_stage(tmp_path, "extract_frames", INSWAPPER_WORKERS="1")
    assert done.returncode == 2
    assert "p1.mp4: decode_error" in done.stdout
    assert done.stderr.startswith("extract_frames: 1 of 5 videos were skipped, above")
    (skip,) = read_rows(Path("data/manifests/skipped_videos.csv"), SkipRow)
    assert str(tmp_path) not in skip.detail


def test_a_video_that_kills_its_workers_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives up such a video; this test makes it do so after its frames are written."""

    @contextmanager
    def giving_up(_: int, __: str, lost: Any) -> Any:
        def run(function: Any, jobs: Any) -> Any:
            done = {job.video.video_id: function(job) for job in jobs}
            return [lost(job) if job.video.video_id == "bb" else done["a"] for job in jobs]

        yield run

    monkeypatch.setattr("pipeline.frames.extraction.worker_map", giving_up)
    result = extract(real("a"), real("bb"))
    assert {row.video_id for row in result.rows} == {"a"}
    (skipped,) = result.skipped
    assert (skipped.path, skipped.video_id, skipped.reason) == ("in/bb.mp4", "bb", "worker_died")
    assert {Path(name).parent.name for name in written()} == {"a"}
