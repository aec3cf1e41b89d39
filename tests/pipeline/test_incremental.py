"""A warm cache gives the frames and crops of a cold run, and only new inputs are processed."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.manifest import FrameRow, InputRow
from pipeline.crops.cropping import CropJob, CropResult, crop_frames
from pipeline.frames.extraction import Extraction, extract_frames
from pipeline.runtime.params import load_params
from pipeline.runtime.sections import ExtractFramesParams
from pipeline.views.preprocess import Preprocess
from tests.support.imports import ROOT
from tests.support.synthetic import (
    alpha_u8,
    draw_clip,
    draw_face,
    draw_scenery,
    frame_row,
    input_row,
    swap_face,
    write_clip,
    write_rgb,
    write_swapped_clip,
)
from tests.support.tiny_graphs import save_graph

STAGES = Path("stages")
CROP_PARAMS = load_params(ROOT / "params.yaml").crop_faces
Files = dict[str, bytes]


pytestmark = pytest.mark.usefixtures("in_tmp_path")


def files_below(folder: Path) -> Files:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def extract(
    videos: list[InputRow], cache_root: Path | None, scene_threshold: float = 0.35, workers: int = 1
) -> tuple[Extraction, Files]:
    shutil.rmtree("frames", ignore_errors=True)
    params = ExtractFramesParams(
        frames_per_scene=2, scene_threshold=scene_threshold, min_scene_s=0.2, max_skip_frac=0.5
    )
    result = extract_frames(videos, Path("frames"), params, workers, cache_root)
    return result, files_below(Path("frames"))


def reused_frames(videos: list[InputRow], **changes: Any) -> int:
    """Number of videos taken from the cache, after a comparison with a run without one."""
    warm = extract(videos, STAGES, **changes)
    assert warm == extract(videos, None, **changes)
    return warm[0].reused


def real(name: str, seed: int) -> InputRow:
    path = Path(f"in/{name}.mp4")
    write_clip(path, draw_clip(seed, scenes=2, frames_per_scene=6))
    return input_row(video_id=name, identity_id=name, path=str(path))


def fake(name: str, original: str, seed: int) -> InputRow:
    path = Path(f"in/fakes/{name}.mp4")
    write_swapped_clip(path, draw_clip(seed, scenes=2, frames_per_scene=6), 50)
    return input_row(
        video_id=f"inswapper/{name}",
        identity_id=original or name,
        original_video_id=original,
        label=1,
        fake_type="inswapper",
        is_inswapper=1,
        path=str(path),
        mask_path=f"in/fakes/masks/{name}.mkv",
    )


def broken(name: str) -> InputRow:
    path = Path(f"in/{name}.mp4")
    path.write_bytes(b"no video")
    return input_row(video_id=name, path=str(path))


def test_only_new_and_changed_videos_are_decoded() -> None:
    videos = [real("a", 1), fake("a", "a", 1), real("b", 2)]
    assert reused_frames(videos) == 0
    assert reused_frames(videos) == 3
    videos.append(real("c", 3))
    assert reused_frames(videos) == 3
    write_clip(Path(videos[2].path), draw_clip(4, scenes=1, frames_per_scene=12))
    assert reused_frames(videos) == 3
    assert (
        reused_frames(videos[1:]) == 2
    )  # the fake no longer has an original with frames to follow
    renamed = videos[2].model_copy(update={"video_id": "deep/er", "path": "in/moved.mp4"})
    Path(videos[2].path).rename(renamed.path)
    assert reused_frames([renamed]) == 1


def test_workers_and_cache_do_not_change_a_byte() -> None:
    """This is why pipeline/runtime is not a dependency of any stage."""
    videos = [real("a", 1), fake("a", "a", 1), real("b", 2), broken("bad")]
    frames = [put("c", draw_face(1).rgb), put_fake("f", "c", 1), put("d", draw_face(2).rgb)]
    places = [(1, None), (2, STAGES), (1, STAGES)]  # the third reuses the second's entries
    extracted = [extract(videos, root, workers=workers) for workers, root in places]
    cropped = [crop(frames, root, workers=workers) for workers, root in places]
    assert all(run == extracted[0] for run in extracted)
    assert all(run == cropped[0] for run in cropped)
    assert [skip.video_id for skip in extracted[0][0].skipped] == ["bad"]
    assert extracted[-1][0].reused == cropped[-1][0].reused == 3


def test_a_changed_mask_is_a_changed_video() -> None:
    videos = [fake("a", "", 1), real("b", 2)]
    reused_frames(videos)
    other = fake("other", "", 3)
    shutil.copy(other.mask_path, videos[0].mask_path)
    assert reused_frames(videos) == 1
    Path(videos[0].mask_path).unlink()
    assert reused_frames(videos) == 1
    assert reused_frames([videos[0].model_copy(update={"mask_path": ""}), videos[1]]) == 1


def test_every_parameter_except_the_skip_limit_changes_every_video() -> None:
    videos = [real("a", 1), real("b", 2)]
    reused_frames(videos)
    assert reused_frames(videos, scene_threshold=0.3) == 0
    assert reused_frames(videos) == 0  # entries that the last run did not use were pruned


def test_videos_that_are_skipped_are_tried_again() -> None:
    videos = [real("a", 1), broken("bad")]
    assert [reused_frames(videos), reused_frames(videos)] == [0, 1]


def crop(frames: list[FrameRow], cache_root: Path | None, **changes: Any) -> tuple[Any, Files]:
    shutil.rmtree("crops", ignore_errors=True)
    workers = changes.pop("workers", 1)
    size_px = changes.pop("size_px", 64)
    job = CropJob(
        CROP_PARAMS.model_copy(update=changes), Preprocess(size_px), Path("crops"), cache_root
    )
    result: CropResult = crop_frames(frames, job, workers)
    return result, files_below(Path("crops"))


def reused_crops(frames: list[FrameRow], **changes: Any) -> int:
    """Number of frames taken from the cache, after a comparison with a run without one."""
    warm = crop(frames, STAGES, **changes)
    assert warm == crop(frames, None, **changes)
    return int(warm[0].reused)


def put(name: str, rgb: Any, **changes: Any) -> FrameRow:
    path = Path(f"in/{name}.png")
    write_rgb(path, rgb)
    return frame_row(video_id=name, frame_path=str(path), **changes)


def put_fake(name: str, original: str, seed: int) -> FrameRow:
    rgb, alpha = swap_face(draw_face(seed), 50)
    write_rgb(Path(f"in/{name}.mask.png"), np.repeat(alpha_u8(alpha)[..., None], 3, axis=2))
    kind = {"label": 1, "fake_type": "inswapper", "is_inswapper": 1}
    paths = {"original_video_id": original, "mask_path": f"in/{name}.mask.png"}
    return put(name, rgb, **kind, **paths)


def test_only_new_and_changed_frames_are_searched_for_faces() -> None:
    frames = [put("a", draw_face(1).rgb), put_fake("f", "a", 1), put("empty", draw_scenery(5))]
    assert reused_crops(frames) == 0
    assert reused_crops(frames) == 3
    frames.append(put("b", draw_face(2).rgb))
    assert reused_crops(frames) == 3
    put("b", draw_face(3).rgb)
    assert reused_crops(frames) == 3
    put("a", draw_face(4).rgb)  # the original of the fake, too
    assert reused_crops(frames) == 2
    assert reused_crops(frames[:1]) == 1


def test_the_same_image_under_another_name_or_label() -> None:
    frames = [put("a", draw_face(1).rgb), put("b", draw_face(2).rgb)]
    reused_crops(frames)
    moved = frames[0].model_copy(update={"video_id": "x/y", "scene": 3, "frame_index": 9})
    assert reused_crops([moved, frames[1]]) == 2
    fake = frames[0].model_copy(update={"label": 1, "fake_type": "other"})
    assert reused_crops([fake, frames[1]]) == 1


def test_parameters_of_the_crops() -> None:
    frames = [put("a", draw_face(1).rgb)]
    reused_crops(frames)
    assert reused_crops(frames, quality_quantiles=[0.5, 0.1], max_skip_frac=0.1) == 1
    assert reused_crops(frames, min_face_px=50) == 0
    assert reused_crops(frames, min_face_px=50, size_px=96) == 0


def test_another_model_file_changes_the_key() -> None:
    frames = [put("a", draw_face(1).rgb)]
    changes = {"detector": "yolo_face", "model_file": "yolo.onnx"}
    for side in (200, 220):
        answer = np.array([[[320], [320], [side], [240], [0.9]]], np.float32)
        save_graph(Path("yolo.onnx"), [1, 3, 640, 640], answer)
        assert reused_crops(frames, **changes) == 0


def test_a_frame_that_cannot_be_read_is_tried_again() -> None:
    frames = [put("a", draw_face(1).rgb), put_fake("f", "", 1)]
    reused_crops(frames)
    Path(frames[1].mask_path).unlink()
    assert [reused_crops(frames), reused_crops(frames)] == [1, 1]
    assert crop(frames, STAGES)[0].skipped[0].reason == "decode_error"


def test_damaged_entries_are_created_again() -> None:
    videos, frames = [real("a", 1), real("b", 2)], [put("c", draw_face(1).rgb)]
    reused_frames(videos)
    reused_crops(frames)
    for path in STAGES.glob("*/*"):
        with path.open("r+b") as stream:
            stream.seek(-20, os.SEEK_END)
            stream.write(b"damage")
    assert reused_frames(videos) == reused_crops(frames) == 0
    assert (reused_frames(videos), reused_crops(frames)) == (2, 1)
