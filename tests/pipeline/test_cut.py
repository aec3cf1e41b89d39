"""pipeline.views.cut: the same views in the same order wherever a face is scored."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.runtime.errors import DetectorError
from pipeline.views.aligned import aligned_view
from pipeline.views.cut import cut_view, cut_views, seam_view, view_names
from pipeline.views.preprocess import Preprocess
from tests.support.synthetic import draw_face

FACE = draw_face(2, height=260, width=300, face_px=110, roll_deg=12)
ALL = Preprocess(size_px=64, aligned=True)
BOXES = replace(ALL, aligned=False)


def test_view_names_are_in_order() -> None:
    assert view_names(ALL) == ["1.1x", "1.5x", "2x", "aligned"]
    assert view_names(BOXES) == ["1.1x", "1.5x", "2x"]
    assert view_names(replace(ALL, scales=())) == ["aligned"]
    assert view_names(replace(BOXES, scales=(1.25, 3.0))) == ["1.25x", "3x"]


def test_names_and_params_agree_on_the_views() -> None:
    for names in (["1.1x", "aligned"], ["2x"], ["aligned"], view_names(ALL)):
        assert view_names(Preprocess().for_views(names)) == names


def test_every_view_has_its_index() -> None:
    views = cut_views(ALL, FACE.rgb, FACE.box_xyxy, FACE.keypoints)
    assert views.shape == (4, 64, 64, 3)
    assert views.dtype == np.uint8
    for index, scale in enumerate(ALL.scales):
        np.testing.assert_array_equal(views[index], ALL.crop(FACE.rgb, FACE.box_xyxy, scale))
    np.testing.assert_array_equal(views[3], aligned_view(FACE.rgb, FACE.keypoints, 64).rgb)
    for index in range(4):
        one = cut_view(ALL, index, FACE.rgb, FACE.box_xyxy, FACE.keypoints)
        np.testing.assert_array_equal(one, views[index])


def test_a_mask_is_cropped_like_its_image() -> None:
    grey = np.ascontiguousarray(FACE.rgb[..., 1])
    for index in range(4):
        mask = cut_view(ALL, index, grey, FACE.box_xyxy, FACE.keypoints)
        image = cut_view(ALL, index, FACE.rgb, FACE.box_xyxy, FACE.keypoints)
        np.testing.assert_array_equal(mask, image[..., 1])


def test_only_the_aligned_view_needs_keypoints() -> None:
    assert cut_views(BOXES, FACE.rgb, FACE.box_xyxy, None).shape == (3, 64, 64, 3)
    assert cut_view(ALL, 2, FACE.rgb, FACE.box_xyxy, None).shape == (64, 64, 3)
    with pytest.raises(DetectorError, match="gave no keypoints"):
        cut_views(ALL, FACE.rgb, FACE.box_xyxy, None)


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        (ALL, 3),
        (replace(ALL, scales=(1.5,)), 1),
        (replace(ALL, scales=()), 0),
        (BOXES, 1),
        (replace(BOXES, scales=(1.1, 1.4, 2.0)), 1),
        (replace(BOXES, scales=(2.0,)), 0),
    ],
)
def test_the_seam_is_shown_in_a_view_that_contains_it(
    preprocess: Preprocess, expected: int
) -> None:
    assert seam_view(preprocess) == expected
