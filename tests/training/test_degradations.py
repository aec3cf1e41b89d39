import numpy as np
import pytest

from pipeline.training.pairs.degradations import (
    DEGRADED_COPIES,
    TYPICAL_SQUARE_PX,
    as_it_is,
    blur,
    blur_square,
    cover_face,
    jpeg,
    shrink,
    shrink_face,
    through_square,
    x264,
)
from pipeline.views.face_image import FaceImage
from tests.support.synthetic import draw_face

_DRAWN = draw_face(1, height=181, width=243, face_px=80)
FACE = FaceImage(_DRAWN.rgb, _DRAWN.box_xyxy, _DRAWN.keypoints, np.ones((181, 243), np.float32))


def sharpness(rgb: np.ndarray) -> float:
    return float(np.abs(np.diff(rgb.astype(np.float64), axis=1)).mean())


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


def test_jpeg_keeps_the_colours_and_loses_more_at_lower_quality() -> None:
    good, bad = jpeg(95)(FACE), jpeg(10)(FACE)
    assert good.rgb.shape == FACE.rgb.shape
    assert good.box_xyxy is FACE.box_xyxy
    assert good.keypoints is FACE.keypoints
    assert good.alpha is FACE.alpha
    assert 0 < distance(good.rgb, FACE.rgb) < distance(bad.rgb, FACE.rgb)
    assert np.abs(good.rgb.mean(axis=(0, 1)) - FACE.rgb.mean(axis=(0, 1))).max() < 1.5


def test_as_it_is_returns_the_image() -> None:
    assert as_it_is(FACE) is FACE


def test_x264_crops_to_even_sides_and_loses_more_at_a_higher_factor() -> None:
    good, bad = x264(18)(FACE), x264(40)(FACE)
    assert good.rgb.shape == (180, 242, 3)
    assert good.alpha is not None
    assert good.alpha.shape == (180, 242)
    assert (good.box_xyxy == FACE.box_xyxy).all()
    cropped = FACE.rgb[:180, :242]
    assert 0 < distance(good.rgb, cropped) < distance(bad.rgb, cropped)


def test_blur_softens() -> None:
    softer = [sharpness(blur(sigma)(FACE).rgb) for sigma in (0.5, 1, 2)]
    assert sharpness(FACE.rgb) > softer[0] > softer[1] > softer[2]


def test_blur_grows_with_a_large_square() -> None:
    assert FACE.square_px < TYPICAL_SQUARE_PX
    np.testing.assert_array_equal(blur_square(1.2)(FACE).rgb, blur(1.2)(FACE).rgb)
    large = FACE.resized(3)
    sigma = 1.2 * large.square_px / TYPICAL_SQUARE_PX
    assert sigma > 1.2
    np.testing.assert_array_equal(blur_square(1.2)(large).rgb, blur(sigma)(large).rgb)


def test_through_a_small_square_only_detail_is_lost() -> None:
    soft = through_square(60)(FACE)
    assert soft.rgb.shape == FACE.rgb.shape
    assert soft.keypoints is FACE.keypoints
    assert sharpness(soft.rgb) < 0.8 * sharpness(FACE.rgb)
    assert sharpness(through_square(90)(FACE).rgb) > sharpness(soft.rgb)
    assert through_square(FACE.square_px + 1)(FACE) is FACE


def test_shrinking_moves_the_box_and_the_keypoints_along() -> None:
    small = shrink(0.5)(FACE)
    assert small.rgb.shape == (90, 122, 3)
    assert small.box_xyxy == pytest.approx(FACE.box_xyxy / 2, abs=0.6)
    assert small.keypoints == pytest.approx(FACE.keypoints / 2, abs=0.6)


def test_shrink_face_reaches_its_side_and_leaves_smaller_faces() -> None:
    small, box = shrink_face(40)(FACE).rgb, shrink_face(40)(FACE).box_xyxy
    assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(40, abs=0.5)
    assert small.shape[0] == round(181 / 2)
    assert shrink_face(100)(FACE).rgb is FACE.rgb


def test_cover_hides_the_paste_square_and_nothing_else() -> None:
    covered = cover_face(1.8)(FACE).rgb
    changed = (covered != FACE.rgb).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == pytest.approx(
        (90.5 - 72, 90.5 + 71, 121.5 - 72, 121.5 + 71), abs=2
    )
    assert len(np.unique(covered[changed], axis=0)) == 1


def test_a_face_that_fills_the_image_is_covered_in_grey() -> None:
    box = np.array([0, 0, 40, 40], dtype=np.float32)
    filling = FaceImage(FACE.rgb[:40, :40], box, None)
    assert (cover_face(1.8)(filling).rgb == 128).all()


def test_degraded_copies_have_the_stated_face_size() -> None:
    for copy in DEGRADED_COPIES.values():
        box = copy.degrade(FACE).box_xyxy
        side = max(box[2] - box[0], box[3] - box[1])
        assert side == pytest.approx(80 * copy.size_factor, abs=1)
