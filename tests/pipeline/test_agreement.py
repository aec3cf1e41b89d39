"""pipeline.crops.agreement: copies that differ in the face alone agree, all others do not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import ImageU8
from pipeline.crops.agreement import MAX_DISAGREEMENT, disagreement, frames_agree
from pipeline.media.video import read_frames
from pipeline.media.video_writer import write_video
from tests.support.synthetic import DrawnFace, draw_face, swap_face

DRAWN = draw_face(2, height=240, width=320, face_px=100)


def smooth(drawn: DrawnFace) -> DrawnFace:
    """Without grain, like footage in front of a soft background."""
    return DrawnFace(cv2.GaussianBlur(drawn.rgb, (0, 0), 2), drawn.box_xyxy, drawn.keypoints)


def encoded(folder: Path, rgb: ImageU8, crf: int) -> ImageU8:
    write_video(folder / "clip.mp4", [rgb] * 3, 25, crf=crf)
    return list(read_frames(folder / "clip.mp4"))[1][2]


@pytest.mark.parametrize("crf", [18, 24, 30])
def test_an_encoded_swap_agrees_with_its_original(tmp_path: Path, crf: int) -> None:
    drawn = smooth(DRAWN)
    fake = encoded(tmp_path, swap_face(drawn, 50)[0], crf)
    real = encoded(tmp_path, drawn.rgb, 20)
    assert frames_agree(fake, real, [drawn.box_xyxy])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rgb: rgb[:, ::-1],
        lambda rgb: np.roll(rgb, 2, axis=1),
        lambda rgb: np.roll(rgb, -2, axis=0),
        lambda rgb: cv2.resize(rgb[6:-6, 8:-8], rgb.shape[1::-1]),
        lambda rgb: np.clip(1.1 * rgb.astype(float) + 6, 0, 255).astype(np.uint8),
    ],
    ids=["mirrored", "shifted", "shifted up", "re-cropped", "graded"],
)
@pytest.mark.parametrize("drawn", [DRAWN, smooth(DRAWN)], ids=["grainy", "smooth"])
def test_other_copies_do_not_agree(drawn: DrawnFace, spoil: Callable[[ImageU8], ImageU8]) -> None:
    fake = np.ascontiguousarray(spoil(swap_face(drawn, 50)[0]))
    assert not frames_agree(fake, drawn.rgb, [drawn.box_xyxy])


def test_a_later_frame_does_not_agree_where_the_camera_moves() -> None:
    later = draw_face(2, height=240, width=320, face_px=100, pan_px=(6, 3))
    assert not frames_agree(swap_face(later, 50)[0], DRAWN.rgb, [DRAWN.box_xyxy])


def test_a_later_frame_of_a_static_scene_agrees() -> None:
    """Only the face has moved, which is not compared: the two cannot be told apart."""
    later = draw_face(2, height=240, width=320, face_px=100, centre=(162, 121))
    assert frames_agree(swap_face(later, 50)[0], DRAWN.rgb, [DRAWN.box_xyxy])


def test_a_known_mask_is_left_out_as_well_as_the_faces() -> None:
    other = DRAWN.rgb.copy()
    other[150:, 220:] = 255
    assert not frames_agree(other, DRAWN.rgb, [DRAWN.box_xyxy])
    alpha = np.zeros(other.shape[:2], np.float32)
    alpha[140:, 210:] = 1
    assert frames_agree(other, DRAWN.rgb, [DRAWN.box_xyxy], alpha)


def test_a_frame_filled_by_its_face_agrees() -> None:
    box = np.array([0, -10, 320, 250], np.float32)
    assert frames_agree(np.ascontiguousarray(DRAWN.rgb[:, ::-1]), DRAWN.rgb, [box])


def test_disagreement_is_relative_to_a_shift() -> None:
    everywhere = np.ones(DRAWN.rgb.shape[:2], bool)
    rgb = smooth(DRAWN).rgb
    assert disagreement(rgb, rgb, everywhere) == 0
    shifted = [disagreement(np.roll(rgb, by, axis=1), rgb, everywhere) for by in (1, 2, 4)]
    assert shifted == sorted(shifted)
    assert shifted[1] > MAX_DISAGREEMENT


def test_noise_in_a_flat_frame_is_no_change() -> None:
    noise = np.random.default_rng(0).normal(128, 4, (2, 120, 160, 1))
    first, second = np.repeat(noise, 3, axis=-1).round().astype(np.uint8)
    assert frames_agree(first, second, [])
