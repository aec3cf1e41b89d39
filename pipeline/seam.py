"""Where INSwapper's paste lies: its square, its mask, its seam, and what can be said about a crop.

INSwapper aligns a face to a 128-px template, redraws it and pastes the square back with an eroded
and blurred mask. All of it follows from the five keypoints; only the contrast needs a picture.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.labels import FAKE, REAL, UNKNOWN, BoundarySource
from pipeline.preprocess import FloatArray, ImageU8

Matrix = NDArray[np.float64]
T = TypeVar("T", np.uint8, np.float32)

SQUARE_PX: Final = 128

# Left eye, right eye, nose, left and right corner of the mouth (ArcFace's 112-px template, moved by
# 8 px in x as INSwapper does for 128 px).
TEMPLATE: Final = np.array(
    [
        [46.2946, 51.6963],
        [81.5318, 51.5014],
        [64.0252, 71.7366],
        [49.5493, 92.3655],
        [78.7299, 92.2041],
    ]
)

_SMOOTHING_PX: Final = 3
# Grey levels: what rounding to 8 bits leaves after smoothing, and some reserve.
_NOISE_FLOOR: Final = 0.05
# Standard deviation of seam_contrast_sigma's ratio between two encodings of one frame: of 74 frames
# at CRF 20 and 26, 95 % lay below 1.46.
_RATIO_SPREAD: Final = 0.2


@dataclass(frozen=True)
class Rect:
    """Whole-pixel rectangle of a picture; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices into the picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def arcface_square(keypoints: FloatArray, size: int = SQUARE_PX) -> Matrix:
    """Similarity that moves a frame's keypoints onto the template of a square of `size` pixels.

    keypoints: (5, 2) pixels of the frame: eyes, nose, mouth corners. Returns (2, 3), frame ->
    square, optimal in the least-squares sense (Umeyama 1991), without reflection.
    Raises ValueError when the keypoints are not (5, 2) finite numbers or all lie on one spot.
    """
    points = np.asarray(keypoints, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"expected (5, 2) finite keypoints, got shape {points.shape}")
    target = TEMPLATE * (size / SQUARE_PX)
    centre, target_centre = points.mean(axis=0), target.mean(axis=0)
    source_z = (points - centre) @ [1, 1j]
    target_z = (target - target_centre) @ [1, 1j]
    spread = float(np.vdot(source_z, source_z).real)
    if spread < 1e-9:
        raise ValueError("the five keypoints lie on one spot")
    turn = complex(np.vdot(source_z, target_z)) / spread
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target_centre - linear @ centre])


def square_px(matrix: Matrix, size: int = SQUARE_PX) -> float:
    """Side, in frame pixels, of the square that `matrix` (frame -> square) cuts out."""
    return float(size / np.hypot(matrix[0, 0], matrix[1, 0]))


def square_rect(
    matrix: Matrix, size: int, shape_hw: tuple[int, int], margin: int = 4
) -> Rect | None:
    """Smallest rectangle of the frame around the square and `margin` pixels; None if outside."""
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float64) - 0.5
    inverse = cv2.invertAffineTransform(matrix)
    points = corners @ inverse[:, :2].T + inverse[:, 2]
    low = np.floor(points.min(axis=0)).astype(int) - margin
    high = np.ceil(points.max(axis=0)).astype(int) + margin + 1
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(shape_hw[1], int(high[0])), min(shape_hw[0], int(high[1]))
    return Rect(left, top, right, bottom) if left < right and top < bottom else None


def paste_alpha(matrix: Matrix, size: int, shape_hw: tuple[int, int]) -> FloatArray:
    """INSwapper's paste mask: the warped square, eroded by a tenth and blurred by a twentieth.

    matrix: (2, 3) frame -> square of `size` pixels. shape_hw: height and width of the frame.
    Returns (H, W) float32 in [0, 1], all 0 when the square lies outside the frame.
    """
    alpha = np.zeros(shape_hw, dtype=np.float32)
    patch, rect = paste_alpha_patch(matrix, size, shape_hw)
    if rect is not None:
        alpha[rect.slices] = np.minimum(patch, 1)
    return alpha


def paste_alpha_patch(
    matrix: Matrix, size: int, shape_hw: tuple[int, int]
) -> tuple[FloatArray, Rect | None]:
    """As `paste_alpha`, but only the rectangle in which it is not 0, and that rectangle.

    The patch may exceed 1 by a rounding error; INSwapper's own does, and it darkens some pixels by
    one grey level.
    """
    rect = square_rect(matrix, size, shape_hw)
    if rect is None:
        return np.zeros((0, 0), dtype=np.float32), None
    mask = warp_back(np.full((size, size), 255, dtype=np.float32), matrix, rect)
    mask[mask > 20] = 255
    return soften_edge(mask) / np.float32(255), rect


def warp_back(square: NDArray[T], matrix: Matrix, rect: Rect) -> NDArray[T]:
    """Warp a (size, size[, C]) square into the frame with a black border; returns `rect` of it.

    The warp starts at the frame's origin: OpenCV rounds coordinates to 1/32 px, so that a warp that
    starts at the rectangle differs from INSwapper's by up to 8 grey levels.
    """
    inverse = cv2.invertAffineTransform(matrix)
    warped = cv2.warpAffine(square, inverse, (rect.right, rect.bottom), borderValue=0.0)
    return np.asarray(warped[rect.slices], square.dtype)


def soften_edge(mask: FloatArray) -> FloatArray:
    """Erode and blur a 0-or-255 mask as INSwapper does, in proportion to the mask's own size."""
    rows = np.flatnonzero((mask == 255).any(axis=1))
    columns = np.flatnonzero((mask == 255).any(axis=0))
    if not rows.size:
        return np.zeros_like(mask)
    extent = int(np.sqrt((rows[-1] - rows[0]) * (columns[-1] - columns[0])))
    erosion = max(extent // 10, 10)
    blur = 2 * max(extent // 20, 5) + 1
    eroded = cv2.erode(mask, np.ones((erosion, erosion), np.uint8))
    return np.asarray(cv2.GaussianBlur(eroded, (blur, blur), 0), np.float32)


def seam_map(alpha: FloatArray) -> FloatArray:
    """4 a (1 - a): 1 where paste and picture are mixed half and half, 0 where only one is."""
    return np.float32(4) * alpha * (np.float32(1) - alpha)


def seam_fraction(alpha: FloatArray, left: int, top: int, side: int) -> float:
    """Share of the seam that lies inside a square crop of the frame; 0 when there is no seam.

    alpha: (H, W) in [0, 1]. left, top, side: whole pixels; the square may leave the frame.
    """
    energy = seam_map(alpha)
    total = float(energy.sum(dtype=np.float64))
    if total == 0:
        return 0.0
    rows = slice(max(0, top), max(0, top + side))
    columns = slice(max(0, left), max(0, left + side))
    return float(energy[rows, columns].sum(dtype=np.float64)) / total


def seam_contrast_sigma(fake_rgb: ImageU8, real_rgb: ImageU8, alpha: FloatArray) -> float:
    """How far the seam stands out of the noise that encoding put between a fake and its real twin.

    fake_rgb, real_rgb: (H, W, 3) uint8, the same frame with and without the swap. alpha: (H, W).
    The ratio of the smoothed RMS difference along the seam to that around the paste is 1 when the
    two differ by encoding alone; returned is how many of its standard deviations it lies above 1.
    0 when there is no seam. Raises ValueError when the shapes differ.
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
    power = _smooth_power(fake_rgb[rect.slices], real_rgb[rect.slices])
    reach = np.ones((4 * _SMOOTHING_PX + 1,) * 2, np.uint8)
    outside = power[cv2.erode((near == 0).astype(np.uint8), reach) > 0]
    noise = float(np.sqrt(outside.mean())) if outside.size else 0.0
    signal = float(np.sqrt((weight * power).sum(dtype=np.float64) / total))
    return max(0.0, signal / max(noise, _NOISE_FLOOR) - 1) / _RATIO_SPREAD


def difference_alpha(fake_rgb: ImageU8, real_rgb: ImageU8) -> FloatArray:
    """Paste mask guessed from the difference of a fake and its real twin, whatever its outline.

    Returns (H, W) float32 in [0, 1], all 0 when the two do not differ beyond noise. The noise is
    taken from the outermost tenth of the frame, where a face is not expected. Measured on pastes
    encoded at CRF 20: half of the guesses overlap the true mask by an IoU of 0.79 and more.
    """
    power = _smooth_power(fake_rgb, real_rgb)
    height, width = power.shape
    rim = np.ones(power.shape, dtype=bool)
    rim[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    # The median, as a large paste reaches into the rim; it is about 0.45 of the mean.
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
    """Does a crop show a paste boundary, and how is that known?

    fake_rgb: (H, W, 3) frame. crop_square: left, top, side in its pixels. alpha: the paste mask of
    our own swap. real_rgb: the frame before the swap. keypoints: (5, 2), for INSwapper only.
    Returns 1 when at least `min_seam_frac` of the seam lies in the crop and, where the twin is
    known, stands at least `min_sigma` out of the encoding noise; else 0; -1 when nothing is known.
    The source is the best there is: exact, paired, geometric, none. Real frames are 0.
    """
    if label == REAL:
        return REAL, "exact"
    twin = real_rgb if real_rgb is not None and real_rgb.shape == fake_rgb.shape else None
    mask, source = _best_mask(fake_rgb, alpha, twin, keypoints if is_inswapper else None)
    if mask is None:
        return UNKNOWN, "none"
    if seam_fraction(mask, *crop_square) < min_seam_frac:
        return REAL, source
    if twin is not None and seam_contrast_sigma(fake_rgb, twin, mask) < min_sigma:
        return REAL, source
    return FAKE, source


def _best_mask(
    rgb: ImageU8, alpha: FloatArray | None, twin: ImageU8 | None, keypoints: FloatArray | None
) -> tuple[FloatArray | None, BoundarySource]:
    if alpha is not None:
        return alpha, "exact"
    if keypoints is not None:
        shape_hw = (rgb.shape[0], rgb.shape[1])
        square = paste_alpha(arcface_square(keypoints), SQUARE_PX, shape_hw)
        return square, "geometric" if twin is None else "paired"
    if twin is not None:
        return difference_alpha(rgb, twin), "paired"
    return None, "none"


def _smooth_power(first: ImageU8, second: ImageU8) -> FloatArray:
    """Squared smoothed difference in brightness, grey levels: (H, W, 3) x 2 -> (H, W).

    Smoothing lowers the encoder's noise more than a difference that has the same sign all along.
    """
    bright, twin = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (first, second))
    difference = cv2.subtract(bright, twin, dtype=cv2.CV_32F)
    width = 4 * _SMOOTHING_PX + 1
    smooth = cv2.GaussianBlur(difference, (width, width), _SMOOTHING_PX)
    return np.square(np.asarray(smooth, np.float32))


def _surroundings(alpha: FloatArray) -> Rect | None:
    """The paste's rectangle, grown by a quarter of its size on each side, within the frame."""
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
