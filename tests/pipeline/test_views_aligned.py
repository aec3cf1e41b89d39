"""pipeline.views.aligned: the paste square always covers the same pixels of the view."""

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import FloatArray
from pipeline.views.aligned import aligned_view, surroundings_frac, view_matrix
from pipeline.views.paste import TEMPLATE


def placed(scale: float, degrees: float, x: float, y: float) -> FloatArray:
    """The template's keypoints rotated, scaled and moved, as of a perfect face."""
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray((TEMPLATE - 63.5) @ matrix.T + [x, y], np.float32)


@pytest.mark.parametrize(("scale", "degrees"), [(0.8, 0), (1.7, 25), (3.0, -60)])
def test_the_square_has_a_fixed_position(scale: float, degrees: float) -> None:
    keypoints = placed(scale, degrees, 300, 260)
    matrix = view_matrix(keypoints, 256, 192)
    turn = np.radians(degrees)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = np.array([[-64, -64], [64, -64], [64, 64], [-64, 64]]) @ rotation.T + [300, 260]
    found = corners @ matrix[:, :2].T + matrix[:, 2]
    # The square covers the pixel edges 32.0 to 224.0; pixel centres are half a pixel inside.
    wanted = np.array([[32, 32], [224, 32], [224, 224], [32, 224]]) - 0.5
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_a_mark_appears_where_the_matrix_maps_it() -> None:
    rgb = np.zeros((600, 700, 3), np.uint8)
    keypoints = placed(2.0, 15, 320, 300)
    cv2.circle(rgb, (320, 300), 6, (255, 255, 255), -1)
    view = aligned_view(rgb, keypoints, 256).rgb
    rows, columns = np.nonzero(view[..., 0] > 127)
    assert abs(rows.mean() - 127.5) < 0.6
    assert abs(columns.mean() - 127.5) < 0.6


def test_a_large_image_looks_like_a_small_one() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    small = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    large = np.asarray(cv2.resize(small, (1200, 1200), interpolation=cv2.INTER_CUBIC), np.uint8)
    points = placed(1.2, 10, 150, 150)
    seen = aligned_view(small, points, 256).rgb.astype(int)
    shrunk = aligned_view(large, (points + 0.5) * 4 - 0.5, 256).rgb.astype(int)
    assert np.abs(seen - shrunk).mean() < 1.0


def test_valid_marks_pixels_inside_the_image() -> None:
    rgb = np.full((256, 256, 3), 90, np.uint8)
    whole = aligned_view(rgb, placed(0.8, 0, 128, 128), 256)
    assert whole.valid.all()
    corner = aligned_view(rgb, placed(1.5, 0, 0, 0), 256)
    assert 0.2 < corner.valid.mean() < 0.3
    assert corner.rgb.min() >= 89  # mirrored, not black


def test_surroundings_shrink_with_the_image() -> None:
    points = placed(1.0, 0, 200, 200)
    fracs = [
        surroundings_frac(points - crop, 400 - 2 * crop, 400 - 2 * crop)
        for crop in (0, 115, 125, 136, 145)
    ]
    assert fracs[0] == 1
    assert fracs == sorted(fracs, reverse=True)
    assert fracs[-1] == 0


def test_unusable_keypoints_are_rejected() -> None:
    with pytest.raises(ValueError, match="coincide"):
        aligned_view(np.zeros((64, 64, 3), np.uint8), np.full((5, 2), 9, np.float32), 256)
