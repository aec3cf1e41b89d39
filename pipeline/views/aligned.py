"""The aligned view: a face warped so that INSwapper's paste square always covers the same pixels.

The five keypoints determine where INSwapper would paste. In this view its seam lies on four known
straight lines, where a network or seam features can measure it.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.views.paste import SQUARE_PX, Matrix, arcface_square

# Fraction of a view's side that the paste square covers: 192 of 256 px.
SQUARE_FRAC: Final = 0.75
# A face that is this much larger than its view is first shrunk with an area filter, so that fine
# texture does not alias into the bands that the detector reads.
MAX_SHRINKAGE: Final = 1.5
# The surroundings, in half sides of the paste square from its middle: from the seam's outer end
# outwards.
OUTSIDE_FROM: Final = 0.96
OUTSIDE_TO: Final = 1.34
CROP_MARGIN_PX: Final = 8
_GRID: Final = 64


@dataclass(frozen=True, eq=False)
class AlignedView:
    """A warped face.

    rgb: (S, S, 3) uint8, mirrored outside the image. valid: (S, S) bool, True inside the image.
    """

    rgb: ImageU8
    valid: NDArray[np.bool_]


def view_matrix(keypoints: FloatArray, size_px: int, square_px: float) -> Matrix:
    """Similarity (2, 3) from an image to a view of `size_px` with the paste square in its middle.

    Raises ValueError for unusable keypoints.
    """
    scale = square_px / SQUARE_PX
    matrix = arcface_square(keypoints) * scale
    matrix[:, 2] += (scale - 1) / 2 + (size_px - square_px) / 2
    return matrix


def aligned_view(
    rgb: ImageU8, keypoints: FloatArray, size_px: int, square_px: float | None = None
) -> AlignedView:
    """Warp a (H, W, 3) uint8 image into the view of a face with (5, 2) keypoints.

    square_px: side of the paste square in the view, by default three quarters of the view's side.
    Raises ValueError for unusable keypoints.
    """
    square = SQUARE_FRAC * size_px if square_px is None else square_px
    matrix = view_matrix(keypoints, size_px, square)
    rgb, matrix = _shrunk(rgb, matrix, size_px)
    warped = cv2.warpAffine(
        rgb, matrix, (size_px, size_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    valid = _inside(matrix, size_px, rgb.shape[0], rgb.shape[1])
    return AlignedView(np.asarray(warped, np.uint8), valid)


def surroundings_frac(keypoints: FloatArray, height: int, width: int) -> float:
    """Fraction of the ring around the paste square, out to 1.34 half sides, inside the image.

    0 for a face that fills the frame: its seam, if there is one, lies outside the image.
    """
    matrix = cv2.invertAffineTransform(arcface_square(keypoints))
    steps = (np.arange(_GRID) + 0.5) / _GRID * 2 * OUTSIDE_TO - OUTSIDE_TO
    x, y = np.meshgrid(steps, steps)
    is_outside = np.maximum(np.abs(x), np.abs(y)) >= OUTSIDE_FROM  # (_GRID, _GRID)
    offsets = np.stack([x[is_outside], y[is_outside]], axis=1) * (SQUARE_PX / 2)  # (n, 2)
    points = (offsets + (SQUARE_PX - 1) / 2) @ matrix[:, :2].T + matrix[:, 2]  # (n, 2) of the image
    inside = ((points >= 0) & (points <= [width - 1, height - 1])).all(axis=1)
    return float(inside.mean())


def _shrunk(rgb: ImageU8, matrix: Matrix, size_px: int) -> tuple[ImageU8, Matrix]:
    """Shrink a large face to about the view's scale; return it with its adjusted matrix."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale >= 1 / MAX_SHRINKAGE:
        return rgb, matrix
    rgb, matrix = _cropped(rgb, matrix, size_px)
    height, width = rgb.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    ratio = np.array([size[0] / width, size[1] / height])
    shift = matrix[:, 2] + matrix[:, :2] @ (0.5 / ratio - 0.5)
    return shrunk, np.column_stack([matrix[:, :2] / ratio, shift])


def _cropped(rgb: ImageU8, matrix: Matrix, size_px: int) -> tuple[ImageU8, Matrix]:
    """Crop an image to what the view shows, so that the cost does not depend on the image's size.

    Returns the crop with its adjusted matrix.
    """
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size_px
    points = corners @ inverse[:, :2].T + inverse[:, 2]
    size = np.array([rgb.shape[1], rgb.shape[0]])
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - CROP_MARGIN_PX, 0, size - 1)
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + CROP_MARGIN_PX, low + 1, size)
    moved = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ low])
    return np.ascontiguousarray(rgb[low[1] : high[1], low[0] : high[0]]), moved


def _inside(matrix: Matrix, size_px: int, height: int, width: int) -> NDArray[np.bool_]:
    """(size_px, size_px) bool: view pixels whose source is at least one pixel inside the image."""
    inverse = cv2.invertAffineTransform(matrix)
    steps = np.arange(size_px, dtype=np.float64)
    x = inverse[0, 0] * steps[None, :] + inverse[0, 1] * steps[:, None] + inverse[0, 2]
    y = inverse[1, 0] * steps[None, :] + inverse[1, 1] * steps[:, None] + inverse[1, 2]
    inside: NDArray[np.bool_] = (x >= 1) & (x <= width - 2) & (y >= 1) & (y <= height - 2)
    return inside
