import numpy as np
import pytest

from pipeline.training.degradations import (
    SOFT_COPIES,
    blur,
    cover_face,
    jpeg,
    shrink,
    shrink_face,
    x264,
)
from tests.synthetic import draw_face

FACE = draw_face(1, height=181, width=243, face_px=80)


def sharpness(rgb: np.ndarray) -> float:
    return float(np.abs(np.diff(rgb.astype(np.float64), axis=1)).mean())


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


def test_jpeg_keeps_the_colours_and_loses_more_at_lower_quality() -> None:
    good, box = jpeg(95)(FACE.rgb, FACE.box_xyxy)
    bad, _ = jpeg(10)(FACE.rgb, FACE.box_xyxy)
    assert good.shape == FACE.rgb.shape
    assert box is FACE.box_xyxy
    assert 0 < distance(good, FACE.rgb) < distance(bad, FACE.rgb)
    assert np.abs(good.mean(axis=(0, 1)) - FACE.rgb.mean(axis=(0, 1))).max() < 1.5


def test_x264_crops_to_even_sides_and_loses_more_at_a_higher_factor() -> None:
    good, _ = x264(18)(FACE.rgb, FACE.box_xyxy)
    bad, _ = x264(40)(FACE.rgb, FACE.box_xyxy)
    assert good.shape == (180, 242, 3)
    cropped = FACE.rgb[:180, :242]
    assert 0 < distance(good, cropped) < distance(bad, cropped)


def test_blur_softens() -> None:
    softer = [sharpness(blur(sigma)(FACE.rgb, FACE.box_xyxy)[0]) for sigma in (0.5, 1, 2)]
    assert sharpness(FACE.rgb) > softer[0] > softer[1] > softer[2]


def test_shrinking_moves_the_box_along() -> None:
    small, box = shrink(0.5)(FACE.rgb, FACE.box_xyxy)
    assert small.shape == (90, 122, 3)
    assert box == pytest.approx(FACE.box_xyxy / 2, abs=0.6)


def test_shrink_face_reaches_its_side_and_leaves_smaller_faces() -> None:
    small, box = shrink_face(40)(FACE.rgb, FACE.box_xyxy)
    assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(40, abs=0.5)
    assert small.shape[0] == round(181 / 2)
    same, _ = shrink_face(100)(FACE.rgb, FACE.box_xyxy)
    assert same is FACE.rgb


def test_cover_hides_the_paste_square_and_nothing_else() -> None:
    covered, _ = cover_face(1.8)(FACE.rgb, FACE.box_xyxy)
    changed = (covered != FACE.rgb).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == pytest.approx(
        (90.5 - 72, 90.5 + 71, 121.5 - 72, 121.5 + 71), abs=2
    )
    assert len(np.unique(covered[changed], axis=0)) == 1


def test_a_face_that_fills_the_picture_is_covered_in_grey() -> None:
    box = np.array([0, 0, 40, 40], dtype=np.float32)
    covered, _ = cover_face(1.8)(FACE.rgb[:40, :40], box)
    assert (covered == 128).all()


def test_soft_copies_say_what_is_left_of_the_face() -> None:
    for copy in SOFT_COPIES.values():
        _, box = copy.degrade(FACE.rgb, FACE.box_xyxy)
        side = max(box[2] - box[0], box[3] - box[1])
        assert side == pytest.approx(80 * copy.size_factor, abs=1)
