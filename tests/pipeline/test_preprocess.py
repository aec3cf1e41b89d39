"""pipeline.views.preprocess: crops are exact to the pixel, from the image or a context crop."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.sections import PreprocessParams
from pipeline.views.preprocess import MEAN, STD, Preprocess, cut_reflected
from tests.support.synthetic import draw_face


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    """(H, W, 3) uint8 in which every pixel encodes its position."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, (x + y) % 256], axis=-1).astype(np.uint8)


def test_square_by_hand() -> None:
    box = np.array([10, 20, 50, 40], np.float32)
    assert Preprocess.square(box, 1.0) == (10, 10, 40)
    assert Preprocess.square(box, 1.5) == (0, 0, 60)
    assert Preprocess.square(box, 2.0) == (-10, -10, 80)
    assert Preprocess.square(np.array([5, 5, 5.2, 5.1], np.float32), 1.0) == (4, 4, 2)


@given(
    x0=st.floats(-50, 400, width=32),
    y0=st.floats(-50, 400, width=32),
    width=st.floats(8, 300, width=32),
    height=st.floats(8, 300, width=32),
    scale=st.floats(1, 4),
)
def test_square_is_centred_and_of_the_size(
    x0: float, y0: float, width: float, height: float, scale: float
) -> None:
    box = np.array([x0, y0, x0 + width, y0 + height], np.float32)
    left, top, side = Preprocess.square(box, scale)
    assert abs(side - scale * max(width, height)) <= 0.51
    assert abs(left + side / 2 - (x0 + width / 2)) <= 0.51
    assert abs(top + side / 2 - (y0 + height / 2)) <= 0.51


@given(
    left=st.integers(-200, 200),
    top=st.integers(-200, 200),
    side=st.integers(1, 150),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_cut_reflected_is_opencv_s_border(
    left: int, top: int, side: int, height: int, width: int
) -> None:
    rgb = gradient(height, width)
    margin = 420
    padded = cv2.copyMakeBorder(rgb, *(margin,) * 4, cv2.BORDER_REFLECT_101)
    at = np.s_[margin + top : margin + top + side, margin + left : margin + left + side]
    assert np.array_equal(cut_reflected(rgb, left, top, side), padded[at])


def test_crop_without_resize_is_the_pixels() -> None:
    rgb = gradient()
    crop = Preprocess(size_px=40).crop(rgb, np.array([20, 10, 60, 50], np.float32), 1.0)
    assert np.array_equal(crop, rgb[10:50, 20:60])


def test_crop_shrinks_by_area_and_enlarges_linearly() -> None:
    rgb = draw_face(1).rgb
    box = np.array([60, 40, 220, 200], np.float32)
    patch = rgb[40:200, 60:220]
    small = Preprocess(size_px=80).crop(rgb, box, 1.0)
    assert np.abs(small - patch.reshape(80, 2, 80, 2, 3).mean(axis=(1, 3))).max() <= 1
    enlarged = Preprocess(size_px=320).crop(rgb, box, 1.0)
    assert np.array_equal(enlarged, cv2.resize(patch, (320, 320), interpolation=cv2.INTER_LINEAR))


def test_crop_of_a_mask() -> None:
    mask = gradient()[..., 0]
    crop = Preprocess(size_px=32).crop(mask, np.array([-10, -10, 22, 22], np.float32), 1.0)
    assert crop.shape == (32, 32)
    assert crop[10, 10:14].tolist() == [0, 1, 2, 3]
    assert crop[10, 6:10].tolist() == [4, 3, 2, 1]


@given(
    dx=st.integers(0, 60),
    dy=st.integers(0, 40),
    x0=st.floats(70, 140, width=32),
    y0=st.floats(60, 120, width=32),
    side=st.floats(20, 50, width=32),
    scale=st.sampled_from([1.1, 1.5, 2.0]),
)
def test_crop_of_a_region_is_the_crop_of_the_image(
    dx: int, dy: int, x0: float, y0: float, side: float, scale: float
) -> None:
    """A crop of a context crop, as in training, equals the crop of the image, as in the service."""
    rgb = gradient(240, 320)
    box = np.array([x0, y0, x0 + side, y0 + side], np.float32)
    left, top, square_side = Preprocess.square(box, scale)
    region = rgb[min(dy, top) :, min(dx, left) :]
    offset = np.array([min(dx, left), min(dy, top)] * 2, np.float32)
    preprocess = Preprocess(size_px=64)
    if Preprocess.square(box - offset, scale) != (left - offset[0], top - offset[1], square_side):
        return  # float32 rounding moved the middle of the box across half a pixel
    assert np.array_equal(
        preprocess.crop(rgb, box, scale), preprocess.crop(region, box - offset, scale)
    )


def test_to_input_values() -> None:
    crop = np.zeros((2, 4, 4, 3), np.uint8)
    crop[1] = 255
    crop[0, 1, 2] = (51, 102, 204)
    inputs = Preprocess().to_input(crop)
    assert inputs.shape == (2, 3, 4, 4)
    assert inputs.dtype == np.float32
    assert inputs.flags.c_contiguous
    mean, std = np.array(MEAN), np.array(STD)
    assert inputs[1, :, 0, 0] == pytest.approx((1 - mean) / std, abs=1e-6)
    assert inputs[0, :, 1, 2] == pytest.approx((np.array([0.2, 0.4, 0.8]) - mean) / std, abs=1e-6)
    assert np.array_equal(Preprocess().to_input(crop[0]), inputs[0])


def test_values_survive_json() -> None:
    preprocess = Preprocess.from_params(PreprocessParams(size_px=128, scales=[1.2, 2.0]))
    assert (preprocess.size_px, preprocess.scales) == (128, (1.2, 2.0))
    stored = json.loads(json.dumps(preprocess.to_dict()))
    assert stored == {
        "size_px": 128,
        "scales": [1.2, 2.0],
        "aligned": False,
        "mean": list(MEAN),
        "std": list(STD),
    }


@pytest.mark.parametrize(
    ("views", "scales", "aligned"),
    [
        (["1.1x", "1.5x", "2x", "aligned"], (1.1, 1.5, 2.0), True),
        (["aligned", "2x"], (2.0,), True),
        (["1.5x"], (1.5,), False),
        (["aligned"], (), True),
    ],
)
def test_a_network_stores_only_the_views_it_scores(
    views: list[str], scales: tuple[float, ...], aligned: bool
) -> None:
    narrowed = Preprocess(size_px=96).for_views(views)
    assert (narrowed.scales, narrowed.aligned, narrowed.size_px) == (scales, aligned, 96)
