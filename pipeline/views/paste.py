"""Geometry of INSwapper's paste: its square, its mask, its seam and the seam's part in a crop.

INSwapper aligns a face to a 128-px template, generates the swapped face and pastes the square back
with an eroded and blurred mask. All of this geometry follows from the five keypoints.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray
from pipeline.runtime.errors import DetectorError

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


@dataclass(frozen=True)
class Rect:
    """Whole-pixel rectangle of an image; right and bottom are exclusive."""

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
        """Row and column slices into the image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def require_keypoints(keypoints: FloatArray | None) -> FloatArray:
    """The (5, 2) keypoints of a face. Raises DetectorError where its detector gave none."""
    if keypoints is None:
        raise DetectorError(
            "the face detector gave no keypoints, which swap detection needs: choose another"
            " crop_faces.detector (to train) or INSWAPPER_FACE_DETECTOR (to serve), or a model with"
            " five landmarks"
        )
    return keypoints


def arcface_square(keypoints: FloatArray, size: int = SQUARE_PX) -> Matrix:
    """Similarity that maps a frame's keypoints to the template of a square of `size` pixels.

    keypoints: (5, 2) pixels of the frame: eyes, nose, mouth corners. Returns (2, 3), frame ->
    square, optimal in the least-squares sense (Umeyama 1991), without reflection.
    Raises ValueError when the keypoints are not (5, 2) finite numbers or all coincide.
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
        raise ValueError(f"the five keypoints coincide at {points[0].tolist()}")
    # Scale and rotation as one complex factor.
    factor = complex(np.vdot(source_z, target_z)) / spread
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, target_centre - linear @ centre])


def square_px(matrix: Matrix, size: int = SQUARE_PX) -> float:
    """Side in frame pixels of the square that `matrix` (frame -> square) maps to `size` pixels."""
    return float(size / np.hypot(matrix[0, 0], matrix[1, 0]))


def square_rect(
    matrix: Matrix, size: int, shape_hw: tuple[int, int], margin: int = 4
) -> Rect | None:
    """Smallest rectangle of the frame around the square plus `margin` pixels; None if outside."""
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
    """`paste_alpha` within the rectangle where it is not 0, and that rectangle (None if empty).

    The patch may exceed 1 by a rounding error, as INSwapper's own mask does, which darkens some
    pixels by one grey level.
    """
    rect = square_rect(matrix, size, shape_hw)
    if rect is None:
        return np.zeros((0, 0), dtype=np.float32), None
    mask = warp_back(np.full((size, size), 255, dtype=np.float32), matrix, rect)
    mask[mask > 20] = 255
    return soften_edge(mask) / np.float32(255), rect


def warp_back(square: NDArray[T], matrix: Matrix, rect: Rect) -> NDArray[T]:
    """Warp a (size, size[, C]) square into the frame with a black border; return its part `rect`.

    The warp starts at the frame's origin: OpenCV rounds coordinates to 1/32 px, so a warp starting
    at the rectangle would differ from INSwapper's by up to 8 grey levels.
    """
    inverse = cv2.invertAffineTransform(matrix)
    warped = cv2.warpAffine(square, inverse, (rect.right, rect.bottom), borderValue=0.0)
    return np.asarray(warped[rect.slices], square.dtype)


def soften_edge(mask: FloatArray) -> FloatArray:
    """Erode and blur a 0-or-255 mask (H, W) as INSwapper does, in proportion to the mask's size."""
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
    """4 a (1 - a): 1 where paste and image are mixed equally, 0 where only one of them is."""
    return np.float32(4) * alpha * (np.float32(1) - alpha)


def seam_fraction(alpha: FloatArray, left: int, top: int, side: int) -> float:
    """Fraction of the seam inside a square crop of the frame; 0 without a seam.

    alpha: (H, W) in [0, 1]. left, top, side: whole pixels; the square may extend beyond the frame.
    """
    energy = seam_map(alpha)
    total = float(energy.sum(dtype=np.float64))
    if total == 0:
        return 0.0
    rows = slice(max(0, top), max(0, top + side))
    columns = slice(max(0, left), max(0, left + side))
    return float(energy[rows, columns].sum(dtype=np.float64)) / total
