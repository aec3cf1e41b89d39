"""Paste masks of pseudo-swaps: INSwapper's square, a box or a face outline, perhaps with a hole."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.training.swaps.recipe import Hole, SwapRecipe
from pipeline.views.paste import SQUARE_PX, Rect, arcface_square, paste_alpha_patch, warp_back

# Outline of a frontal face in template pixels, from the left temple over the chin to the forehead.
_JAW: Final = np.array(
    [
        [24, 48],
        [25, 66],
        [29, 84],
        [38, 101],
        [51, 113],
        [64, 117],
        [77, 113],
        [90, 101],
        [99, 84],
        [103, 66],
        [104, 48],
    ],
    dtype=np.float64,
)
_BROWS: Final = np.array(
    [[98, 38], [84, 34], [64, 36], [44, 34], [30, 38]],
    dtype=np.float64,
)
# How far the outline may extend from the brows towards the hair.
_FOREHEAD: Final = np.array([[0, 6], [0, 12], [0, 16], [0, 12], [0, 6]], dtype=np.float64)
_CENTRE: Final = np.array([64.0, 70.0])


def recipe_alpha(
    keypoints: FloatArray, recipe: SwapRecipe, shape_hw: tuple[int, int]
) -> tuple[FloatArray, Rect | None]:
    """Paste mask of a recipe, and the rectangle of the frame that it covers.

    The mask is float32 with the size of the rectangle, in [0, 1] up to rounding. The rectangle is
    None if the square is outside the frame.
    """
    matrix = arcface_square(keypoints)
    alpha, rect = paste_alpha_patch(matrix, SQUARE_PX, shape_hw)
    if rect is None:
        return alpha, None
    if recipe.kind == "box":
        alpha = warp_back(_box_mask(recipe), matrix, rect)
    elif recipe.kind == "hull":
        outline = outline_mask(recipe.grow, recipe.forehead, recipe.blur)
        alpha = warp_back(outline, matrix, rect)
    if recipe.hole is not None:
        alpha = alpha * (np.float32(1) - warp_back(_hole_mask(recipe.hole), matrix, rect))
    return alpha, rect


def mask_u8(alpha: FloatArray) -> ImageU8:
    """Convert an opacity in [0, 1] to the stored form, uint8 in [0, 255]."""
    mask: ImageU8 = np.rint(alpha * np.float32(255)).astype(np.uint8)
    return mask


def outline_mask(grow: float, forehead: float, blur: float) -> FloatArray:
    """Mask (128, 128) float32 of a face outline, blurred inwards and outwards.

    grow: scale around the middle of the face. forehead: 0 ends at the brows, 1 reaches highest.
    blur: width of the soft edge, as a fraction of the square's side.
    """
    outline = np.concatenate([_JAW, _BROWS - forehead * _FOREHEAD])
    corners = np.rint((outline - _CENTRE) * grow + _CENTRE).astype(np.int32)
    mask = np.zeros((SQUARE_PX, SQUARE_PX), dtype=np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(corners), 1.0)
    return _zero_rim(cv2.GaussianBlur(mask, (0, 0), blur * SQUARE_PX / 3))


def _box_mask(recipe: SwapRecipe) -> FloatArray:
    """Mask (128, 128) float32 of a padded box in the square, blurred inwards as in FaceFusion."""
    softness = recipe.blur * SQUARE_PX / 2
    top, right, bottom, left = (round(max(side * SQUARE_PX, softness)) for side in recipe.padding)
    mask = np.zeros((SQUARE_PX, SQUARE_PX), dtype=np.float32)
    mask[top : SQUARE_PX - bottom, left : SQUARE_PX - right] = 1
    return _zero_rim(cv2.GaussianBlur(mask, (0, 0), softness / 2))


def _hole_mask(hole: Hole) -> FloatArray:
    mask = np.zeros((SQUARE_PX, SQUARE_PX), dtype=np.float32)
    centre = (round(hole.x), round(hole.y))
    axes = (round(hole.radius_x), round(hole.radius_y))
    cv2.ellipse(mask, centre, axes, hole.degrees, 0, 360, 1.0, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), np.float32)


def _zero_rim(mask: NDArray[np.generic]) -> FloatArray:
    """Set the outermost pixels to 0, so that warping the mask back adds no hard edge."""
    rimmed = np.array(mask, dtype=np.float32)
    rimmed[[0, -1]] = 0
    rimmed[:, [0, -1]] = 0
    return rimmed
