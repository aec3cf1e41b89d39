"""Paste masks of pseudo-swaps: INSwapper's square, a box or a face's outline, less a hole."""

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
# How far the outline may climb from the brows towards the hair.
_FOREHEAD: Final = np.array([[0, 6], [0, 12], [0, 16], [0, 12], [0, 6]], dtype=np.float64)
_CENTRE: Final = np.array([64.0, 70.0])


def recipe_alpha(
    keypoints: FloatArray, recipe: SwapRecipe, shape_hw: tuple[int, int]
) -> tuple[FloatArray, Rect | None]:
    """The paste mask of a recipe in the frame, and the rectangle that it covers."""
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
    """Share of the paste, in [0, 1] -> [0, 255], as masks are stored."""
    mask: ImageU8 = np.rint(alpha * np.float32(255)).astype(np.uint8)
    return mask


def outline_mask(grow: float, forehead: float, blur: float) -> FloatArray:
    """(128, 128) float32 mask of a face outline, softened inwards and outwards."""
    outline = np.concatenate([_JAW, _BROWS - forehead * _FOREHEAD])
    corners = np.rint((outline - _CENTRE) * grow + _CENTRE).astype(np.int32)
    mask = np.zeros((SQUARE_PX, SQUARE_PX), dtype=np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(corners), 1.0)
    return _rimmed(cv2.GaussianBlur(mask, (0, 0), blur * SQUARE_PX / 3))


def _box_mask(recipe: SwapRecipe) -> FloatArray:
    """(128, 128) float32 mask of a padded box in the square, softened inwards (as FaceFusion)."""
    softness = recipe.blur * SQUARE_PX / 2
    top, right, bottom, left = (round(max(side * SQUARE_PX, softness)) for side in recipe.padding)
    mask = np.zeros((SQUARE_PX, SQUARE_PX), dtype=np.float32)
    mask[top : SQUARE_PX - bottom, left : SQUARE_PX - right] = 1
    return _rimmed(cv2.GaussianBlur(mask, (0, 0), softness / 2))


def _hole_mask(hole: Hole) -> FloatArray:
    mask = np.zeros((SQUARE_PX, SQUARE_PX), dtype=np.float32)
    centre = (round(hole.x), round(hole.y))
    axes = (round(hole.radius_x), round(hole.radius_y))
    cv2.ellipse(mask, centre, axes, hole.degrees, 0, 360, 1.0, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), np.float32)


def _rimmed(mask: NDArray[np.generic]) -> FloatArray:
    """A mask that ends at 0 on the square's rim, so that the warp adds no edge of its own."""
    rimmed = np.array(mask, dtype=np.float32)
    rimmed[[0, -1]] = 0
    rimmed[:, [0, -1]] = 0
    return rimmed
