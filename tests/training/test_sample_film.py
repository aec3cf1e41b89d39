"""pipeline.training.sample.film: keypoints follow the camera, the scale and the mirror."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.training.sample.film import Camera, Subject, draw_camera, film, mirrored, scaled
from tests.support.synthetic import draw_face, draw_scenery

STEADY = Camera(
    centre=(0.5, 0.5),
    pan_px=((-6.0, 2.0), (7.0, -3.0)),
    zoom=(1.0, 1.08),
    degrees=(-1.0, 1.0),
    light=(1.0, 1.0),
    gain=(1.0, 1.0, 1.0),
    gamma=1.0,
    grain=0.0,
    grain_seed=0,
)


def dotted(height: int, width: int, keypoints: np.ndarray) -> Subject:
    """A grey image with a white dot at each keypoint."""
    rgb = np.full((height, width, 3), 60, np.uint8)
    for x, y in keypoints:
        cv2.circle(rgb, (round(float(x)), round(float(y))), 5, (255, 255, 255), cv2.FILLED)
    return Subject(rgb, keypoints.astype(np.float32))


def dot_centres(rgb: np.ndarray) -> np.ndarray:
    """Centres of the bright dots, sorted by x."""
    bright = (rgb[..., 1] > 150).astype(np.uint8)
    _, _, _, centres = cv2.connectedComponentsWithStats(bright)
    return centres[1:][np.argsort(centres[1:, 0])]


DOTS = np.array([[100, 90], [130, 140], [160, 92], [190, 150], [220, 110]], float)


@pytest.mark.parametrize("size", [(240, 320), (500, 700), (180, 300)])
def test_keypoints_follow_the_camera(size: tuple[int, int]) -> None:
    subject = dotted(*size, DOTS)
    filmed = film([subject], STEADY, 9, 320, 240)
    assert len(filmed) == 9
    for frame in filmed:
        assert frame.rgb.shape == (240, 320, 3)
        assert frame.keypoints is not None
        expected = frame.keypoints[np.argsort(frame.keypoints[:, 0])]
        assert_allclose(dot_centres(frame.rgb), expected, atol=0.5)
    assert np.abs(filmed[0].keypoints - filmed[-1].keypoints).max() > 5


@pytest.mark.parametrize("scale", [0.5, 0.73, 1.6])
def test_keypoints_follow_the_scale(scale: float) -> None:
    subject = dotted(240, 320, DOTS)
    small = scaled(subject, scale)
    assert small.rgb.shape == (round(240 * scale), round(320 * scale), 3)
    assert_allclose(dot_centres(small.rgb), small.keypoints, atol=0.5)


def test_keypoints_follow_the_mirror_and_keep_their_order_as_seen() -> None:
    face = draw_face(1)
    flipped = mirrored(Subject(face.rgb, face.keypoints))
    assert_array_equal(flipped.rgb, face.rgb[:, ::-1])
    x = flipped.keypoints[:, 0]
    assert x[0] < x[1]
    assert x[3] < x[4]
    assert_allclose(flipped.keypoints[2], [319 - face.keypoints[2, 0], face.keypoints[2, 1]])


def test_a_camera_moves_smoothly_and_its_grain_changes() -> None:
    camera = replace(draw_camera(np.random.default_rng(4), 320, 240), grain=2.0)
    filmed = film([dotted(400, 500, DOTS)], camera, 20, 320, 240)
    steps = [np.abs(b.keypoints - a.keypoints).max() for a, b in pairwise(filmed)]
    assert max(steps) < 4
    still = replace(camera, pan_px=((0, 0), (0, 0)), zoom=(1, 1), degrees=(0, 0))
    first, second = (f.rgb.astype(int) for f in film([dotted(400, 500, DOTS)], still, 2, 320, 240))
    assert 1.5 < (second - first).std() < 4


def test_a_scene_without_a_face_has_no_keypoints() -> None:
    assert all(f.keypoints is None for f in film([Subject(draw_scenery(1))], STEADY, 3, 160, 120))
