"""pipeline.training.pairs.framing: box, keypoints and mask follow the face."""

import cv2
import numpy as np
import pytest

from pipeline.runtime.params import load_params
from pipeline.training.pairs.framing import framed
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper
from pipeline.training.swaps.recipe import SwapRecipe
from pipeline.views.aligned import surroundings_frac
from pipeline.views.face_image import FaceImage
from pipeline.views.paste import TEMPLATE


def marked(size: int = 500, scale: float = 2.0) -> FaceImage:
    """An image with a white dot at the nose, and a mask of the same dot."""
    points = np.asarray(TEMPLATE * scale + 110, np.float32)
    rgb = np.full((size, size + 20, 3), 40, np.uint8)
    alpha = np.zeros(rgb.shape[:2], np.float32)
    nose = (round(float(points[2, 0])), round(float(points[2, 1])))
    points[2] = nose
    cv2.circle(rgb, nose, 5, (255, 255, 255), -1)
    cv2.circle(alpha, nose, 5, 1.0, -1)
    box = np.array([150, 150, 330, 380], np.float32)
    return FaceImage(rgb, box, points, alpha)


def dot(image: FaceImage) -> tuple[np.ndarray, np.ndarray]:
    """Position of the dot in the pixels, and the position of its keypoint."""
    rows, columns = np.nonzero(image.rgb[..., 0] > 140)
    assert image.keypoints is not None
    return np.array([columns.mean(), rows.mean()]), image.keypoints[2]


@pytest.mark.parametrize("factor", [0.45, 0.8, 1.0])
def test_resizing_moves_pixels_box_keypoints_and_mask(factor: float) -> None:
    image = marked().resized(factor)
    seen, said = dot(image)
    assert np.abs(seen - said).max() < 0.6
    assert image.alpha is not None
    assert image.alpha.shape == image.rgb.shape[:2]
    assert image.alpha[round(float(said[1])), round(float(said[0]))] > 0.9
    np.testing.assert_allclose(image.box_xyxy, marked().box_xyxy * factor, rtol=0.01)
    assert image.square_px == pytest.approx(256 * factor, rel=0.01)


def test_cutting_moves_box_and_keypoints_and_stops_at_the_edge() -> None:
    image = marked().cut(-50, 60, 420, 900)
    assert image.rgb.shape == (440, 420, 3)
    seen, said = dot(image)
    assert np.abs(seen - said).max() < 0.01
    np.testing.assert_array_equal(image.box_xyxy, [150, 90, 330, 320])


def test_without_keypoints_the_square_follows_from_the_box() -> None:
    image = FaceImage(np.zeros((99, 99, 3), np.uint8), np.array([0, 0, 50, 80], np.float32), None)
    assert image.square_px == pytest.approx(113.6)


@pytest.mark.parametrize("seed", range(12))
def test_a_real_face_and_its_swap_have_equal_framing(seed: int) -> None:
    params = load_params().pseudo_swap.model_copy(update={"tight_frac": 0.6})
    real = marked()
    assert real.keypoints is not None
    swap = PseudoSwapper(PLAIN).apply(real.rgb, real.keypoints, SwapRecipe(shift=(9.0, 9.0, 9.0)))
    fake = FaceImage(swap.rgb, real.box_xyxy, real.keypoints, swap.alpha)
    first, second = (framed(p, params, np.random.default_rng(seed)) for p in (real, fake))
    assert first.rgb.shape == second.rgb.shape
    np.testing.assert_array_equal(first.box_xyxy, second.box_xyxy)
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    assert second.alpha is not None
    outside = second.alpha < 1e-3
    inner = cv2.erode(outside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    difference = np.abs(first.rgb.astype(int) - second.rgb.astype(int)).max(axis=2)
    assert difference[inner].max(initial=0) <= 1


def test_tight_framing_removes_the_surroundings() -> None:
    base = load_params().pseudo_swap
    still = {"resize_frac": 0.0, "soft_camera_frac": 0.0}
    tight = base.model_copy(update={**still, "tight_frac": 1.0, "square_max_px": 4000})
    fracs = []
    for seed in range(10):
        cut = framed(marked(), tight, np.random.default_rng(seed))
        assert cut.keypoints is not None
        fracs.append(surroundings_frac(cut.keypoints, *cut.rgb.shape[:2]))
    assert surroundings_frac(marked().keypoints, 500, 520) == 1
    assert max(fracs) < 1
    assert np.mean(fracs) < 0.65
    assert min(fracs) < 0.45
