"""pipeline.frames.scenes: exact hard cuts; no cuts at camera motion and flash lights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.frames.scenes import (
    Scene,
    detect_scenes,
    hsv_histogram,
    sample_indices,
    sample_stride,
)
from pipeline.media.video_writer import write_video
from pipeline.runtime.errors import DecodeError
from tests.support.synthetic import draw_clip, draw_face, draw_scenery, write_clip

THRESHOLD = 0.35
MIN_SCENE_S = 0.4


def scenes_of(frames: list[np.ndarray], path: Path, fps: int = 25) -> list[Scene]:
    write_video(path, frames, fps)
    return detect_scenes(path, THRESHOLD, MIN_SCENE_S)


@pytest.mark.parametrize("person", range(4))
def test_hard_cuts_are_exact(tmp_path: Path, person: int) -> None:
    write_clip(tmp_path / "clip.mp4", draw_clip(person, scenes=4, frames_per_scene=13))
    found = detect_scenes(tmp_path / "clip.mp4", THRESHOLD, MIN_SCENE_S)
    assert found == [Scene(0, 13), Scene(13, 26), Scene(26, 39), Scene(39, 52)]


@pytest.mark.parametrize("lengths", [(10, 31, 12), (25, 10, 10), (10, 10, 40)])
def test_shots_of_any_length(tmp_path: Path, lengths: tuple[int, ...]) -> None:
    frames = [
        draw_scenery(4 * shot, 160, 208, (2 * i, i))
        for shot, length in enumerate(lengths)
        for i in range(length)
    ]
    stops = np.cumsum(lengths).tolist()
    expected = [Scene(stop - n, stop) for stop, n in zip(stops, lengths, strict=True)]
    assert scenes_of(frames, tmp_path / "clip.mp4") == expected


def test_a_shot_that_returns_is_cut_twice(tmp_path: Path) -> None:
    shots = [draw_scenery(seed, 160, 208) for seed in (1, 5, 1)]
    frames = [shot for shot in shots for _ in range(12)]
    assert [scene.start for scene in scenes_of(frames, tmp_path / "clip.mp4")] == [0, 12, 24]


def test_same_colours_at_other_positions_are_a_cut(tmp_path: Path) -> None:
    rgb = np.zeros((160, 208, 3), np.uint8)
    rgb[:, :104], rgb[:, 104:] = (200, 60, 40), (40, 60, 200)
    frames = [rgb] * 12 + [np.ascontiguousarray(rgb[:, ::-1])] * 12
    assert scenes_of(frames, tmp_path / "clip.mp4") == [Scene(0, 12), Scene(12, 24)]


def test_another_framing_of_the_same_set_is_a_cut(tmp_path: Path) -> None:
    """The camera jumps closer: colours hardly change and the distance is below the threshold."""
    wide = [draw_face(3, face_px=90, pan_px=(i, 0)).rgb for i in range(14)]
    near = [draw_face(3, face_px=150, pan_px=(90 + i, 40)).rgb for i in range(14)]
    distance = np.abs(hsv_histogram(wide[-1]) - hsv_histogram(near[0])).sum() / 2
    assert THRESHOLD / 3 < distance < THRESHOLD
    assert scenes_of([*wide, *near], tmp_path / "near.mp4") == [Scene(0, 14), Scene(14, 28)]


@pytest.mark.parametrize("pan_px", [(2, 1), (9, 4)])
def test_camera_motion_is_not_a_cut(tmp_path: Path, pan_px: tuple[int, int]) -> None:
    frames = [
        draw_face(3, pan_px=(pan_px[0] * i, pan_px[1] * i), centre=(90 + 5 * i, 120)).rgb
        for i in range(28)
    ]
    assert scenes_of(frames, tmp_path / "pan.mp4") == [Scene(0, 28)]


def test_zoom_and_shake_are_not_a_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shake = rng.integers(-12, 13, (30, 2))
    frames = [
        draw_face(5, face_px=60 + 4 * i, centre=(160 + int(dx), 120 + int(dy))).rgb
        for i, (dx, dy) in enumerate(shake)
    ]
    assert scenes_of(frames, tmp_path / "zoom.mp4") == [Scene(0, 30)]


def test_flash_lights_are_not_a_cut(tmp_path: Path) -> None:
    frames = [draw_face(2, height=160, width=208, pan_px=(i, 0)).rgb for i in range(40)]
    for flash in (8, 20, 21, 22, 33):
        frames[flash] = np.clip(frames[flash].astype(int) * 2 + 90, 0, 255).astype(np.uint8)
    assert scenes_of(frames, tmp_path / "flash.mp4") == [Scene(0, 40)]


def test_a_blended_frame_belongs_to_no_scene(tmp_path: Path) -> None:
    first, second = draw_scenery(1, 160, 208), draw_scenery(6, 160, 208)
    blended = cv2.addWeighted(first, 0.5, second, 0.5, 0)
    frames = [first] * 15 + [blended] + [second] * 15
    assert scenes_of(frames, tmp_path / "blend.mp4") == [Scene(0, 15, gap=1), Scene(16, 31)]


def test_the_minimum_is_in_seconds(tmp_path: Path) -> None:
    frames = [draw_scenery(seed, 160, 208) for seed in (1, 5, 9) for _ in range(12)]
    assert len(scenes_of(frames, tmp_path / "fast.mp4", fps=30)) == 3
    assert scenes_of(frames[:12], tmp_path / "short.mp4", fps=60) == []
    assert scenes_of(frames[:12], tmp_path / "slow.mp4", fps=10) == [Scene(0, 12)]


def test_broken_videos_are_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "cut.mkv", draw_clip(1))
    data = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeError, match=r"cut\.mkv: truncated"):
        detect_scenes(tmp_path / "cut.mkv", THRESHOLD, MIN_SCENE_S)


def test_histogram_is_a_distribution_over_tiles() -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    histogram = hsv_histogram(rgb)
    assert histogram.shape == (4 * 8 * 4 * 4,)
    assert histogram[:: 8 * 4 * 4].tolist() == [0.25] * 4
    rgb[:4, :4] = 255
    assert np.abs(hsv_histogram(rgb) - histogram).sum() / 2 == pytest.approx(0.25)


def test_hue_of_dark_and_pale_pixels_does_not_count() -> None:
    dark = [np.full((8, 8, 3), colour, np.uint8) for colour in ((40, 0, 0), (0, 0, 40))]
    pale = [np.full((8, 8, 3), colour, np.uint8) for colour in ((220, 210, 205), (205, 210, 220))]
    assert np.array_equal(*map(hsv_histogram, dark))
    assert np.array_equal(*map(hsv_histogram, pale))


def test_sample_indices_by_hand() -> None:
    assert sample_indices(Scene(10, 22), 6) == [11, 13, 15, 16, 18, 20]
    assert sample_indices(Scene(0, 100), 1) == [48]
    assert sample_indices(Scene(5, 8), 6) == [6]
    assert sample_indices(Scene(5, 7), 6) == [5, 6]
    assert sample_indices(Scene(5, 6), 6) == [5]


@given(start=st.integers(0, 500), length=st.integers(1, 3000), count=st.integers(1, 40))
def test_sample_indices_are_even_distinct_and_inside(start: int, length: int, count: int) -> None:
    scene = Scene(start, start + length)
    indices = sample_indices(scene, count)
    room = length - 2 if length > 2 else length
    assert len(indices) == min(count, room)
    assert indices == sorted(set(indices))
    if length > 2:
        assert start < indices[0]
        assert indices[-1] < scene.stop - 1
    stride = sample_stride(length, count)
    assert all((index - start) % stride == 0 for index in indices)
    gaps = np.diff(indices)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= stride
    assert stride == 1 or len(gaps) == 0 or gaps.min() >= 4 * stride


def test_long_scenes_are_sampled_on_a_coarser_grid() -> None:
    assert sample_stride(48, 6) == 1
    assert sample_stride(49, 6) == 2
    assert sample_stride(1000, 6) == 32
    assert sample_indices(Scene(7, 1007), 6) == [7 + 32 * k for k in (3, 8, 13, 18, 23, 29)]


@pytest.mark.parametrize(("lengths", "found"), [((7, 8), []), ((12, 8), [Scene(0, 12)])])
def test_a_cut_among_the_last_frames_is_seen(
    tmp_path: Path, lengths: tuple[int, int], found: list[Scene]
) -> None:
    """Two pieces that are too short for a scene are none together."""
    shots = zip((1, 5), lengths, strict=True)
    frames = [draw_scenery(seed, 160, 208) for seed, length in shots for _ in range(length)]
    assert scenes_of(frames, tmp_path / "clip.mp4") == found


def test_hue_and_saturation_of_bright_pixels_count() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (200, 110, 110)]
    red, green, pale = (hsv_histogram(np.full((8, 8, 3), c, np.uint8)) for c in colours)
    for one, other in ((red, green), (red, pale), (green, pale)):
        assert np.abs(one - other).sum() / 2 == pytest.approx(1)


def test_a_scene_may_be_one_frame_long(tmp_path: Path) -> None:
    """Without neighbours nothing moves, so that a third of the threshold is a cut."""
    shots = [draw_face(3, face_px=90).rgb, draw_face(3, face_px=150, pan_px=(104, 40)).rgb]
    first, second = map(hsv_histogram, shots)
    assert THRESHOLD / 3 < np.abs(first - second).sum() / 2 < THRESHOLD
    write_video(tmp_path / "clip.mp4", [shot for shot in shots for _ in range(4)], 25)
    found = detect_scenes(tmp_path / "clip.mp4", THRESHOLD, 0.01)
    assert found == [Scene(0, 4), Scene(4, 8)]
