"""find_faces: order, size and frame-filling faces; the shape of a network's input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.arrays import ImageU8
from pipeline.faces.detector import Face, find_faces, input_shape, letterbox
from pipeline.faces.load import load_detector
from tests.pipeline.test_detectors import overlap
from tests.support.synthetic import draw_face, draw_scenery


class ListDetector:
    """Returns given faces; those of `padded` for images larger than 100 px."""

    name = "list"

    def __init__(self, faces: list[Face], padded: list[Face] | None = None) -> None:
        self.faces, self.padded = faces, padded or []

    def detect(self, rgb: ImageU8) -> list[Face]:
        return self.faces if rgb.shape[1] <= 100 else self.padded


def face(x: float, y: float, width: float, height: float, score: float = 0.9) -> Face:
    box = np.array([x, y, x + width, y + height], np.float32)
    return Face(box, None, score)


PICTURE = np.zeros((80, 100, 3), np.uint8)


def boxes(detector: ListDetector, min_face_px: float = 10, max_faces: int = 9) -> list[list[float]]:
    found = find_faces(
        detector, PICTURE, min_score=0.5, min_face_px=min_face_px, max_faces=max_faces
    )
    return [found_face.box_xyxy.tolist() for found_face in found]


def test_faces_are_ordered_by_area_and_then_by_position() -> None:
    detector = ListDetector([face(9, 0, 20, 10), face(2, 1, 20, 10), face(0, 0, 30, 30)])
    expected = [[0, 0, 30, 30], [2, 1, 22, 11], [9, 0, 29, 10]]
    assert boxes(detector) == expected
    assert boxes(ListDetector(detector.faces[::-1])) == expected
    assert boxes(detector, max_faces=1) == expected[:1]


def test_weak_and_small_faces_are_left_out() -> None:
    detector = ListDetector([face(0, 0, 20, 29), face(5, 5, 40, 40, score=0.49), face(1, 1, 9, 30)])
    assert boxes(detector, min_face_px=30) == [[1, 1, 10, 31]]


def test_a_face_that_fills_the_image_is_found_with_a_border_around_it() -> None:
    filling = face(45, 45, 110, 90)
    assert boxes(ListDetector([], [filling])) == [[-5, -5, 105, 85]]


class CoarseDetector:
    """Finds the bright square of an image, rounded to multiples of 8 px."""

    name = "coarse"

    def detect(self, rgb: ImageU8) -> list[Face]:
        rows, columns = np.nonzero(rgb[:, :, 0] > 127)
        if not rows.size:
            return []
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        box = np.round(np.array(edges) / 8).astype(np.float32) * 8
        return [Face(box, np.tile(box[:2], (5, 1)), 0.9)]


@pytest.mark.parametrize(("left", "top"), [(123, 61), (-9, 170)])
def test_small_faces_are_refined_in_a_larger_view(left: int, top: int) -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[top : top + 26, max(0, left) : left + 26] = 255
    (found,) = find_faces(CoarseDetector(), rgb, min_score=0.5, min_face_px=10, max_faces=1)
    true = [max(0, left), top, left + 26, top + 26]
    np.testing.assert_allclose(found.box_xyxy, true, atol=1)
    np.testing.assert_allclose(np.asarray(found.keypoints), [true[:2]] * 5, atol=1)
    assert found.score == 0.9


def test_faces_in_the_border_itself_are_rejected() -> None:
    assert boxes(ListDetector([], [face(0, 0, 40, 40)])) == []
    assert boxes(ListDetector([], [face(20, 20, 160, 150)])) == []


def test_walls_without_a_face_give_none() -> None:
    detector = load_detector("insightface")
    for seed in range(12):
        wall = draw_scenery(seed)
        assert find_faces(detector, wall, min_score=0.5, min_face_px=40, max_faces=1) == []


def test_a_frame_filling_drawn_face_is_found_by_the_default_detector() -> None:
    drawn = draw_face(2, height=300, width=300, face_px=330)
    (found,) = find_faces(
        load_detector("insightface"), drawn.rgb, min_score=0.5, min_face_px=40, max_faces=1
    )
    assert overlap(found.box_xyxy, drawn.box_xyxy) > 0.6


@pytest.mark.parametrize(
    ("longer", "expected"), [(64, 320), (320, 320), (321, 640), (640, 640), (4000, 640)]
)
def test_the_network_input_contains_the_image(longer: int, expected: int) -> None:
    assert max(input_shape((10, longer))) == expected
    assert max(input_shape((longer, 10))) == expected


@pytest.mark.parametrize(
    ("shape_hw", "expected"),
    [
        ((720, 1280), (384, 640)),
        ((1920, 1080), (640, 384)),
        ((480, 640), (480, 640)),
        ((100, 100), (320, 320)),
        ((1, 5000), (384, 640)),
        ((2000, 3000), (480, 640)),
        ((640, 480), (640, 480)),
        ((481, 640), (640, 640)),
    ],
)
def test_the_network_input_is_no_larger_than_the_image_needs(
    shape_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert input_shape(shape_hw) == expected


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_longer_side_fills_the_network_input(height: int, width: int) -> None:
    rows, columns = input_shape((height, width))
    assert rows % 32 == 0
    assert columns % 32 == 0
    scale = min(columns / width, rows / height)
    assert scale * max(height, width) == pytest.approx(max(rows, columns))


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([32, 320]))
def test_letterboxing_keeps_the_proportions(height: int, width: int, side: int) -> None:
    boxed, scale = letterbox(np.full((height, width, 3), 255, np.uint8), side, side)
    assert boxed.shape == (side, side, 3)
    inner_height = np.count_nonzero(boxed[:, 0, 0])
    inner_width = np.count_nonzero(boxed[0, :, 0])
    assert max(inner_height, inner_width) == side
    assert abs(inner_height - max(1, scale * height)) <= 0.5
    assert abs(inner_width - max(1, scale * width)) <= 0.5
