"""pipeline.frames.sampling: one pass over a video gives the frames of a scan and a second pass."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from pipeline.frames.sampling import scene_frames
from pipeline.frames.scenes import detect_scenes, sample_indices
from pipeline.media.video import read_frames
from pipeline.media.video_writer import write_video
from pipeline.runtime.errors import DecodeError
from tests.support.anamorphic import write_anamorphic
from tests.support.dissolving import dissolve
from tests.support.synthetic import draw_clip, draw_scenery, write_clip

SEARCH = (0.35, 0.4)
PER_SCENE = 3


def shots(*lengths: int) -> list[np.ndarray]:
    return [
        draw_scenery(4 * shot, 96, 128, (i % 16, i % 9))
        for shot, length in enumerate(lengths)
        for i in range(length)
    ]


def plainly(path: Path) -> list[tuple[int, int, float, bytes]]:
    """Frames by scanning, sampling and reading the video again."""
    scene_of = {
        index: number
        for number, scene in enumerate(detect_scenes(path, *SEARCH))
        for index in sample_indices(scene, PER_SCENE)
    }
    return [(scene_of[i], i, t, rgb.tobytes()) for i, t, rgb in read_frames(path, scene_of)]


def found(path: Path, **options: int) -> list[tuple[int, int, float, bytes]]:
    frames = scene_frames(path, *SEARCH, PER_SCENE, **options)
    converter = VideoReformatter()
    return [
        (scene, frame.index, frame.timestamp_s, frame.pixels(converter, "rgb24").tobytes())
        for scene, frame in ((sampled.scene, sampled.frame) for sampled in frames)
    ]


@pytest.mark.parametrize(
    "lengths",
    [(12,), (130,), (40, 10, 70), (30, 4, 30), (25, 1, 30, 2), (3,), (200, 11)],
    ids=lambda lengths: "-".join(map(str, lengths)),
)
def test_one_pass_equals_a_scan_and_a_second_pass(tmp_path: Path, lengths: tuple[int, ...]) -> None:
    clip = tmp_path / "clip.mp4"
    write_video(clip, shots(*lengths), 25)
    one = found(clip)
    assert one == plainly(clip) == found(clip, threads=2) == found(clip, max_kept_bytes=0)
    scenes = sum(length >= 10 for length in lengths)
    assert len({scene for scene, *_ in one}) == scenes
    assert len(one) == PER_SCENE * scenes


@pytest.mark.parametrize("blends", [(8, 14, 30), (40, 70, 30), (60, 12, 12)])
def test_one_pass_equals_two_where_shots_dissolve(tmp_path: Path, blends: tuple[int, ...]) -> None:
    """A dissolve is found when it is over, after its first frames were candidates."""
    before, length, after = blends
    one = [draw_scenery(1, 96, 128, (i % 16, i % 9)) for i in range(before + length)]
    two = [draw_scenery(7, 96, 128, (i % 16, i % 9)) for i in range(after + length)]
    clip = tmp_path / "clip.mp4"
    write_video(clip, dissolve(one, two, length), 25)
    once = found(clip)
    assert once == plainly(clip) == found(clip, max_kept_bytes=0)
    assert not {index for _, index, *_ in once} & set(range(before, before + length))
    assert len({scene for scene, *_ in once}) == (2 if before >= 10 else 1)


def test_memory_does_not_increase_with_the_scene(tmp_path: Path) -> None:
    """The memory for a scene of 100 frames is enough to sample one of 400."""
    write_video(tmp_path / "long.mp4", shots(400), 25)
    assert [index for _, index, *_ in found(tmp_path / "long.mp4")] == [64, 192, 320]


def test_a_damaged_video_raises_after_what_could_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    write_clip(path, draw_clip(1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodeError, match=r"cut\.mkv"):
        found(path)


def test_waiting_frames_are_counted_as_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Displayed narrower, a frame needs as much memory as one of square pixels."""
    scans = []

    def counted(*arguments: Any, **options: Any) -> Any:
        scans.append(arguments)
        return detect_scenes(*arguments, **options)

    monkeypatch.setattr("pipeline.frames.sampling.detect_scenes", counted)
    needed = int((10 + 8 * PER_SCENE) * 1.5 * 96 * 128)
    for aspect in (None, Fraction(1, 2)):
        write_anamorphic(tmp_path / "clip.mp4", shots(12), aspect)
        found(tmp_path / "clip.mp4", max_kept_bytes=needed)
        assert scans == []
        found(tmp_path / "clip.mp4", max_kept_bytes=needed - 1)
        assert len(scans) == 1
        scans.clear()
