"""Label for whether a crop shows a paste boundary, from the mask, the original or the keypoints."""

from typing import Final

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import FAKE, REAL, UNKNOWN, BoundarySource
from pipeline.views.paste import (
    SQUARE_PX,
    Rect,
    arcface_square,
    paste_alpha,
    seam_fraction,
    seam_map,
    soften_edge,
)

_SMOOTHING_PX: Final = 3

# Grey levels: rounding noise of 8 bits after smoothing, plus a margin.
_NOISE_FLOOR: Final = 0.05

# Standard deviation of seam_contrast_sigma's ratio between two encodings of one frame: for 95 % of
# 74 frames at CRF 20 and 26 the ratio was below 1.46.
_RATIO_SPREAD: Final = 0.2


def seam_contrast_sigma(fake_rgb: ImageU8, real_rgb: ImageU8, alpha: FloatArray) -> float:
    """Contrast of the seam, in standard deviations above the encoding noise; 0 without a seam.

    fake_rgb, real_rgb: (H, W, 3) uint8, the same frame with and without the swap. alpha: (H, W)
    paste mask. The ratio of the smoothed RMS difference along the seam to that around the paste is
    1 when the two frames differ by encoding alone; the result is (ratio - 1) in units of its
    standard deviation. Raises ValueError when the shapes differ.
    """
    if fake_rgb.shape != real_rgb.shape or fake_rgb.shape[:2] != alpha.shape:
        raise ValueError(f"shapes differ: {fake_rgb.shape}, {real_rgb.shape}, alpha {alpha.shape}")
    rect = _surroundings(alpha)
    if rect is None:
        return 0.0
    near = alpha[rect.slices]
    weight = seam_map(near)
    total = float(weight.sum(dtype=np.float64))
    if total == 0:
        return 0.0
    power = smooth_power(fake_rgb[rect.slices], real_rgb[rect.slices])
    reach = np.ones((4 * _SMOOTHING_PX + 1,) * 2, np.uint8)
    outside = power[cv2.erode((near == 0).astype(np.uint8), reach) > 0]
    noise = float(np.sqrt(outside.mean())) if outside.size else 0.0
    signal = float(np.sqrt((weight * power).sum(dtype=np.float64) / total))
    return max(0.0, signal / max(noise, _NOISE_FLOOR) - 1) / _RATIO_SPREAD


def difference_alpha(fake_rgb: ImageU8, real_rgb: ImageU8) -> FloatArray:
    """Paste mask of any outline, estimated from the difference between a fake and its original.

    Returns (H, W) float32 in [0, 1], all 0 when the two do not differ beyond noise. The noise is
    measured in the outermost tenth of the frame, where no face is expected. For pastes encoded at
    CRF 20, half of the estimates have an IoU of 0.79 or more with the true mask.
    """
    power = smooth_power(fake_rgb, real_rgb)
    height, width = power.shape
    rim = np.ones(power.shape, dtype=bool)
    rim[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    # The median, because a large paste reaches into the rim; it is about 0.45 of the mean.
    noise = max(float(np.sqrt(np.median(power[rim]) / 0.45)), _NOISE_FLOOR)
    changed = (power > np.square(4 * noise)).astype(np.uint8)
    closing = max(3, min(height, width) // 20)
    closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((closing, closing), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(power.shape, dtype=np.float32)
    if contours:
        hull = cv2.convexHull(max(contours, key=cv2.contourArea))
        cv2.fillConvexPoly(filled, hull, 255.0)
    alpha: FloatArray = np.minimum(soften_edge(filled) / np.float32(255), np.float32(1))
    return alpha


def boundary_label(
    fake_rgb: ImageU8,
    crop_square: tuple[int, int, int],
    *,
    label: int,
    is_inswapper: int,
    alpha: FloatArray | None = None,
    real_rgb: ImageU8 | None = None,
    keypoints: FloatArray | None = None,
    min_seam_frac: float,
    min_sigma: float,
) -> tuple[int, BoundarySource]:
    """Label of a crop for a visible paste boundary, and the source of that label.

    fake_rgb: (H, W, 3) frame. crop_square: left, top, side in its pixels. alpha: (H, W) known paste
    mask. real_rgb: the frame before the swap. keypoints: (5, 2), used for INSwapper only.
    The label is 1 when at least `min_seam_frac` of the seam lies in the crop and, if the original
    is known, its contrast is at least `min_sigma` above the encoding noise; otherwise 0; -1 when no
    mask can be determined. Real frames are 0. The source is the best available: exact, paired,
    geometric or none.
    """
    if label == REAL:
        return REAL, "exact"
    original = real_rgb if real_rgb is not None and real_rgb.shape == fake_rgb.shape else None
    mask, source = best_mask(fake_rgb, alpha, original, keypoints if is_inswapper else None)
    limits = {"min_seam_frac": min_seam_frac, "min_sigma": min_sigma}
    return visible_boundary(fake_rgb, crop_square, mask, original, **limits), source


def visible_boundary(
    fake_rgb: ImageU8,
    crop_square: tuple[int, int, int],
    mask: FloatArray | None,
    original: ImageU8 | None,
    *,
    min_seam_frac: float,
    min_sigma: float,
) -> int:
    """`boundary_label` of a fake whose paste mask (H, W) is known; -1 without one.

    original: (H, W, 3) frame before the swap, None if unknown.
    """
    if mask is None:
        return UNKNOWN
    if seam_fraction(mask, *crop_square) < min_seam_frac:
        return REAL
    if original is not None and seam_contrast_sigma(fake_rgb, original, mask) < min_sigma:
        return REAL
    return FAKE


def best_mask(
    rgb: ImageU8, alpha: FloatArray | None, original: ImageU8 | None, keypoints: FloatArray | None
) -> tuple[FloatArray | None, BoundarySource]:
    """Paste mask (H, W) of a fake and where it comes from, the best that is known.

    alpha, original: the exact mask and the frame before the swap. keypoints: (5, 2) of an INSwapper
    fake, whose square they fix; None for other fakes.
    """
    if alpha is not None:
        return alpha, "exact"
    if keypoints is not None:
        shape_hw = (rgb.shape[0], rgb.shape[1])
        square = paste_alpha(arcface_square(keypoints), SQUARE_PX, shape_hw)
        return square, "geometric" if original is None else "paired"
    if original is not None:
        return difference_alpha(rgb, original), "paired"
    return None, "none"


def smooth_power(first: ImageU8, second: ImageU8) -> FloatArray:
    """Squared smoothed brightness difference, in grey levels squared: (H, W, 3) x 2 -> (H, W).

    Smoothing reduces encoding noise more than a difference of constant sign.
    """
    grey, other_grey = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (first, second))
    difference = cv2.subtract(grey, other_grey, dtype=cv2.CV_32F)
    width = 4 * _SMOOTHING_PX + 1
    smooth = cv2.GaussianBlur(difference, (width, width), _SMOOTHING_PX)
    return np.square(np.asarray(smooth, np.float32))


def _surroundings(alpha: FloatArray) -> Rect | None:
    """Rectangle of the paste, enlarged by a quarter of its size per side, within the frame."""
    rows = np.flatnonzero(alpha.any(axis=1))
    columns = np.flatnonzero(alpha.any(axis=0))
    if not rows.size:
        return None
    grow_y, grow_x = (rows[-1] - rows[0]) // 4 + 2, (columns[-1] - columns[0]) // 4 + 2
    return Rect(
        max(0, int(columns[0] - grow_x)),
        max(0, int(rows[0] - grow_y)),
        min(alpha.shape[1], int(columns[-1] + grow_x + 1)),
        min(alpha.shape[0], int(rows[-1] + grow_y + 1)),
    )
