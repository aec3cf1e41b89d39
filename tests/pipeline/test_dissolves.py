"""pipeline.frames.dissolves: blends of two shots belong to no scene and are not sampled."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.arrays import ImageU8
from pipeline.frames.dissolves import LENGTHS, Cut, DissolveFinder
from pipeline.frames.sampling import scene_frames
from pipeline.frames.scenes import Scene, detect_scenes, hsv_histogram, sample_indices
from pipeline.media.video_writer import write_video
from tests.support.dissolving import dissolve
from tests.support.synthetic import draw_face, draw_scenery

SEARCH = (0.35, 0.4)


def shot(person: int, frames: int) -> list[ImageU8]:
    """A person whose head sways in front of a panning camera."""
    return [
        draw_face(
            person,
            height=96,
            width=128,
            face_px=50,
            centre=(64 + 3 * np.sin(i / 5), 48 + 2 * np.cos(i / 7)),
            scenery=3 * person,
            pan_px=(i, i // 2),
        ).rgb
        for i in range(frames)
    ]


def still(person: int, frames: int) -> list[ImageU8]:
    return [draw_face(person, height=96, width=128, face_px=50).rgb] * frames


def found_in(frames: list[ImageU8]) -> list[Cut]:
    finder = DissolveFinder(SEARCH[0] / 3)
    cuts = [
        finder.add(rgb[..., ::-1].copy(), hsv_histogram(rgb[..., ::-1].copy())) for rgb in frames
    ]
    return [cut for cut in cuts if cut is not None]


@pytest.mark.parametrize("length", [1, 2, 3, 6, 12, 25, 50, 75])
@pytest.mark.parametrize("make", [still, shot])
def test_all_blends_are_found_and_hardly_any_other_frame(
    make: Callable[[int, int], list[ImageU8]], length: int
) -> None:
    frames = dissolve(make(1, 20 + length), make(4, 20 + length), length)
    (cut,) = found_in(frames)
    slack = 2 + length // 10
    assert 20 - slack <= cut.stop <= 20
    assert 20 + length <= cut.start <= 20 + length + slack


@pytest.mark.parametrize("length", [6, 20, 60])
def test_no_blend_is_sampled(tmp_path: Path, length: int) -> None:
    frames = dissolve(shot(1, 40 + length), shot(4, 30 + length), length)
    write_video(tmp_path / "clip.mp4", frames, 25)
    first, second = detect_scenes(tmp_path / "clip.mp4", *SEARCH)
    assert (first.start, second.stop) == (0, 70 + length)
    assert first.stop <= 40
    assert second.start >= 40 + length
    assert (first.gap, second.gap) == (second.start - first.stop, 0)
    picked = [(f.scene, f.frame.index) for f in scene_frames(tmp_path / "clip.mp4", *SEARCH, 6)]
    assert [scene for scene, _ in picked] == [0] * 6 + [1] * 6
    assert not {index for _, index in picked} & set(range(40, 40 + length))


def test_two_dissolves_and_a_cut(tmp_path: Path) -> None:
    frames = dissolve(dissolve(shot(1, 32), shot(4, 44), 12), shot(7, 32), 12) + shot(10, 20)
    write_video(tmp_path / "clip.mp4", frames, 25)
    scenes = detect_scenes(tmp_path / "clip.mp4", *SEARCH)
    assert len(scenes) == 4
    assert scenes[3].start == scenes[2].stop == len(frames) - 20
    assert scenes[0].stop <= 20 < 32 <= scenes[1].start
    assert scenes[1].stop <= 52 < 64 <= scenes[2].start


def brightened(factor: float) -> list[ImageU8]:
    """A still shot, then a flash that rises and falls over ten frames each."""
    rise = [*np.linspace(1, factor, 10), *np.linspace(factor, 1, 10)]
    still_rgb = draw_face(2, height=96, width=128, face_px=50).rgb.astype(np.float64)
    return [np.clip(still_rgb * f, 0, 255).astype(np.uint8) for f in [1.0] * 20 + rise + [1.0] * 20]


@pytest.mark.parametrize(
    "frames",
    [
        still(1, 30) + still(4, 30),
        [draw_face(3, height=96, width=128, pan_px=(9 * i, 4 * i)).rgb for i in range(28)],
        [draw_scenery(5, 96, 128, (min(max(0, i - 10), 20) * 8, 0)) for i in range(50)],
        [draw_face(5, height=96, width=128, face_px=30 + 2 * i).rgb for i in range(40)],
        brightened(2.5),
    ],
    ids=["cut", "pan", "pan that begins and ends", "zoom", "flash"],
)
def test_nothing_else_is_a_dissolve(frames: list[ImageU8]) -> None:
    assert found_in(frames) == []


def test_a_fade_from_black_is_one() -> None:
    """The frames of a fade are too dark to be scored."""
    black = [np.zeros((96, 128, 3), np.uint8)] * 25
    (cut,) = found_in(dissolve(black, shot(1, 40), 10))
    assert cut.stop <= 15
    assert cut.start >= 25


def test_memory_is_bounded() -> None:
    finder = DissolveFinder(0.1)
    rgb = draw_scenery(1, 48, 64)
    for _ in range(3 * LENGTHS[-1]):
        finder.add(rgb, hsv_histogram(rgb))
    assert len(finder._thumbnails) == len(finder._histograms) < LENGTHS[-1] + 10


@pytest.mark.parametrize("length", range(1, 30))
def test_samples_of_a_short_scene_before_a_long_dissolve(length: int) -> None:
    for gap in (0, 10, 60, 120):
        indices = sample_indices(Scene(100, 100 + length, gap), 6)
        assert indices == sorted(set(indices))
        assert 1 <= len(indices) <= 6
        assert all(100 <= index < 100 + length for index in indices)
