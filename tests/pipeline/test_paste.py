import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from skimage.transform import SimilarityTransform

from pipeline.views.boundary import boundary_label, difference_alpha, seam_contrast_sigma
from pipeline.views.paste import (
    TEMPLATE,
    arcface_square,
    paste_alpha,
    seam_fraction,
    seam_map,
    soften_edge,
    square_px,
    square_rect,
)

FRAME_HW = (300, 360)
LIMITS = {"min_seam_frac": 0.25, "min_sigma": 3.0}


def place(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    """Template keypoints, scaled and rotated, with the square's centre at (x, y)."""
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((TEMPLATE - 64) @ turn.T + [x, y]).astype(np.float32)


def full_frame_alpha(matrix: np.ndarray, size: int) -> np.ndarray:
    """The mask computed over the whole frame, without cropping."""
    white = np.full((size, size), 255, np.float32)
    inverse = cv2.invertAffineTransform(matrix)
    mask = cv2.warpAffine(white, inverse, FRAME_HW[::-1], borderValue=0.0)
    mask[mask > 20] = 255
    return np.minimum(soften_edge(mask) / np.float32(255), 1)


def noise_frame(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8)


keypoint_sets = st.builds(
    place,
    scale=st.floats(0.3, 3),
    degrees=st.floats(-180, 180),
    x=st.floats(-80, 440),
    y=st.floats(-80, 380),
)


def test_the_template_maps_onto_itself():
    assert_allclose(arcface_square(TEMPLATE), [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_a_square_of_256_px_is_twice_that_of_128():
    keypoints = place(1.3, 20, 150, 140)
    assert_allclose(arcface_square(keypoints, 256), 2 * arcface_square(keypoints, 128))
    assert square_px(arcface_square(keypoints, 256), 256) == pytest.approx(128 * 1.3, rel=1e-5)


@given(keypoints=keypoint_sets, seed=st.integers(0, 1000))
def test_the_square_equals_insightfaces_similarity(keypoints, seed):
    # insightface computes it in float32, which differs by up to 1e-3 px.
    bent = keypoints.astype(float) + np.random.default_rng(seed).normal(0, 4, (5, 2))
    expected = SimilarityTransform.from_estimate(bent, TEMPLATE).params[:2]
    assert_allclose(arcface_square(bent), expected, atol=1e-4)


@pytest.mark.parametrize(
    "keypoints", [np.zeros((5, 2)), np.zeros((4, 2)), np.full((5, 2), np.nan)], ids=str
)
def test_unusable_keypoints_are_rejected(keypoints):
    with pytest.raises(ValueError, match="keypoints"):
        arcface_square(keypoints)


@given(keypoints=keypoint_sets)
def test_the_cropped_mask_equals_the_whole_frame_mask(keypoints):
    matrix = arcface_square(keypoints)
    alpha = paste_alpha(matrix, 128, FRAME_HW)
    assert alpha.dtype == np.float32
    assert alpha.shape == FRAME_HW
    assert_allclose(alpha, full_frame_alpha(matrix, 128), atol=1e-6)


def test_a_square_outside_the_frame_has_no_mask():
    matrix = arcface_square(place(1, 0, 900, 900))
    assert square_rect(matrix, 128, FRAME_HW) is None
    assert not paste_alpha(matrix, 128, FRAME_HW).any()
    assert seam_fraction(paste_alpha(matrix, 128, FRAME_HW), 0, 0, 300) == 0


def test_the_mask_of_an_upright_square_is_eroded_by_a_tenth_of_its_side():
    alpha = paste_alpha(arcface_square(place(1.5, 0, 180, 150)), 128, FRAME_HW)
    # 192 px wide; 19 px of erosion leave about 173 px at half height.
    assert (alpha[150] > 0.5).sum() == pytest.approx(192 - 19, abs=2)
    assert alpha[150, 180] == 1


def test_the_seam_map_peaks_at_one_half():
    alpha = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)
    assert_allclose(seam_map(alpha), [0, 0.75, 1, 0.75, 0])


def test_the_seam_fraction_of_a_half_frame_is_one_half():
    alpha = paste_alpha(arcface_square(place(1, 0, 180, 150)), 128, FRAME_HW)
    assert seam_fraction(alpha, -40, -40, 500) == pytest.approx(1)
    assert seam_fraction(alpha, 0, 0, 180) + seam_fraction(alpha, 180, 0, 400) < 1
    assert seam_fraction(alpha, 180, -100, 600) == pytest.approx(0.5, abs=0.01)
    assert seam_fraction(alpha, 160, 130, 40) == 0
    assert seam_fraction(alpha, -200, -200, 150) == 0


def noisy(rgb: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    jitter = np.random.default_rng(seed).normal(0, sigma, rgb.shape)
    return np.clip(np.rint(rgb + jitter), 0, 255).astype(np.uint8)


def test_contrast_is_small_for_noise_and_increases_with_a_step():
    real = np.full((*FRAME_HW, 3), 120, np.uint8)
    alpha = paste_alpha(arcface_square(place(1, 10, 180, 150)), 128, FRAME_HW)
    contrasts = [
        seam_contrast_sigma(noisy(real + step * alpha[..., None], 6, seed=1), real, alpha)
        for step in (0, 6, 40)
    ]
    assert contrasts[0] < 1
    assert contrasts[0] < contrasts[1] < contrasts[2]
    assert contrasts[2] > 20
    assert seam_contrast_sigma(real, real, alpha) == 0
    assert seam_contrast_sigma(noisy(real, 2, seed=1), real, np.zeros_like(alpha)) == 0
    with pytest.raises(ValueError, match="shapes differ"):
        seam_contrast_sigma(real, real[:-1], alpha)


def test_the_difference_from_the_original_finds_the_paste():
    real = noise_frame()
    alpha = paste_alpha(arcface_square(place(1.2, 15, 180, 150)), 128, FRAME_HW)
    softened = cv2.GaussianBlur(real, (0, 0), 2)
    mixed = alpha[..., None] * softened + (1 - alpha[..., None]) * real
    found = difference_alpha(mixed.astype(np.uint8), real) > 0.5
    expected = alpha > 0.5
    assert (found & expected).sum() / (found | expected).sum() > 0.8
    assert not difference_alpha(real, real).any()


def shaded(alpha: np.ndarray, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """A real frame, and the same frame with `amount` grey levels added inside the paste."""
    real = np.full((*FRAME_HW, 3), 100, np.uint8)
    return np.clip(real + amount * alpha[..., None], 0, 255).astype(np.uint8), real


def test_boundary_labels_follow_the_best_evidence():
    keypoints = place(1, 0, 180, 150)
    alpha = paste_alpha(arcface_square(keypoints), 128, FRAME_HW)
    fake, real = shaded(alpha, 40)
    whole, inner = (100, 70, 160), (150, 120, 60)
    swap = {"label": 1, "is_inswapper": 1, **LIMITS}
    cases = [
        (whole, {**swap, "alpha": alpha, "real_rgb": real}, (1, "exact")),
        (inner, {**swap, "alpha": alpha, "real_rgb": real}, (0, "exact")),
        (whole, {**swap, "keypoints": keypoints, "real_rgb": real}, (1, "paired")),
        (whole, {**swap, "keypoints": keypoints}, (1, "geometric")),
        (inner, {**swap, "keypoints": keypoints}, (0, "geometric")),
        (whole, {**swap, "is_inswapper": 0, "keypoints": keypoints}, (-1, "none")),
        (whole, {**swap, "is_inswapper": 0, "real_rgb": real}, (1, "paired")),
        (whole, {**swap, "is_inswapper": 0, "real_rgb": real[:-2]}, (-1, "none")),
        (whole, {**swap, "label": 0, "is_inswapper": 0}, (0, "exact")),
    ]
    for square, evidence, expected in cases:
        assert boundary_label(fake, square, **evidence) == expected


def test_a_seam_below_the_noise_is_not_a_boundary():
    alpha = paste_alpha(arcface_square(place(1, 0, 180, 150)), 128, FRAME_HW)
    fake, real = shaded(alpha, 3.0)
    known = {"label": 1, "is_inswapper": 1, "alpha": alpha, "real_rgb": real, **LIMITS}
    whole = (100, 70, 160)
    assert boundary_label(noisy(fake, 20, seed=2), whole, **known) == (0, "exact")
    assert boundary_label(noisy(fake, 0.3, seed=2), whole, **known) == (1, "exact")
