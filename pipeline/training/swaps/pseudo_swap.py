"""Pseudo-swaps: swaps made from real frames, in INSwapper's geometry.

A face is aligned to INSwapper's 128-px square, changed slightly, and pasted back with INSwapper's
own arithmetic. A detector can learn the resampling and the square from it, but not a generator.
`pipeline.training.swaps.inswapper` runs the real inswapper_128.onnx behind the same interface.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.sections import PseudoSwapParams
from pipeline.training.swaps.masks import outline_mask, recipe_alpha
from pipeline.training.swaps.recipe import BEND_NODES, PasteKind, SwapRecipe, draw_recipe
from pipeline.views.paste import SQUARE_PX, Matrix, Rect, arcface_square, warp_back

# An image (H, W, 3) uint8 and its five keypoints (5, 2).
Donor = tuple[ImageU8, FloatArray]
# INSwapper's own processing: 128 px, black border, no restorer. This is not params.yaml's section,
# so the sample does not change with the augmentation of training.
PLAIN: Final = PseudoSwapParams(
    frac=1.0,
    cross_identity_frac=1.0,
    hull_frac=0.0,
    box_frac=0.0,
    restorer_frac=0.0,
    occlusion_frac=0.0,
    boost_frac=0.0,
    black_border_frac=1.0,
    low_pass_frac=0.1,
    low_pass_min_px=96,
    low_pass_max_px=128,
    soften_real_frac=0.0,
    soft_camera_frac=0.0,
    resize_frac=0.0,
    square_min_px=128,
    square_max_px=128,
    tight_frac=0.0,
    keypoint_jitter=0.0,
)


@dataclass(frozen=True, eq=False)
class Swap:
    """A swapped frame. rgb: (H, W, 3) uint8. alpha: (H, W) float32, opacity of the pasted face."""

    rgb: ImageU8
    alpha: FloatArray
    kind: PasteKind = "square"


class FaceSwapper(Protocol):
    """Makes a fake of a real frame; the recipe determines the result."""

    def draw(self, rng: np.random.Generator, kind: PasteKind | None = None) -> SwapRecipe: ...

    def apply(
        self, rgb: ImageU8, keypoints: FloatArray, recipe: SwapRecipe, donor: Donor | None = None
    ) -> Swap: ...

    def swap(
        self,
        rgb: ImageU8,
        keypoints: FloatArray,
        rng: np.random.Generator,
        donor: Donor | None = None,
        kind: PasteKind | None = None,
    ) -> Swap:
        """Draw a recipe and apply it. The arguments are those of `draw` and `apply`."""
        return self.apply(rgb, keypoints, self.draw(rng, kind), donor)


class PseudoSwapper(FaceSwapper):
    """Makes pseudo-swaps. All randomness is drawn first, into a `SwapRecipe`."""

    def __init__(self, params: PseudoSwapParams) -> None:
        self._params = params

    def draw(self, rng: np.random.Generator, kind: PasteKind | None = None) -> SwapRecipe:
        """Draw a recipe. kind: outline of the paste; None draws it by hull_frac and box_frac."""
        return draw_recipe(self._params, rng, kind)

    def apply(
        self, rgb: ImageU8, keypoints: FloatArray, recipe: SwapRecipe, donor: Donor | None = None
    ) -> Swap:
        """Swap one face; `rgb` is not modified.

        rgb: (H, W, 3) uint8. keypoints: (5, 2) pixels, ArcFace order. donor: another person's
        image and keypoints, used if recipe.use_donor is set. If the face's square is outside the
        frame, the frame stays unchanged and alpha is 0. Raises ValueError for unusable keypoints.
        """
        matrix = arcface_square(keypoints, recipe.size_px)
        target = align_bent(rgb, matrix, recipe)
        source = target
        if donor is not None and recipe.use_donor:
            source = _blend_donor(target, donor, recipe)
        face = _redraw(source, recipe)
        alpha, rect = recipe_alpha(keypoints, recipe, (rgb.shape[0], rgb.shape[1]))
        return paste(rgb, face, matrix, alpha, rect, recipe.kind)


def paste(
    rgb: ImageU8,
    face: ImageU8,
    matrix: Matrix,
    alpha_patch: FloatArray,
    rect: Rect | None,
    kind: PasteKind = "square",
) -> Swap:
    """Paste a drawn face as INSwapper does: bilinear warp, float blending, truncation to uint8.

    face: (size, size, 3) uint8. matrix: (2, 3) frame -> square. alpha_patch: mask of `rect`, the
    part of the frame that changes; with rect None the frame stays unchanged.
    """
    swapped, alpha = rgb.copy(), np.zeros(rgb.shape[:2], dtype=np.float32)
    if rect is not None:
        opacity = cv2.merge([alpha_patch] * 3)  # (h, w) -> (h, w, 3), faster than broadcasting
        drawn = warp_back(face, matrix, rect).astype(np.float32)
        background = (np.float32(1) - opacity) * rgb[rect.slices].astype(np.float32)
        swapped[rect.slices] = (opacity * drawn + background).astype(np.uint8)
        alpha[rect.slices] = np.minimum(alpha_patch, 1)
    return Swap(swapped, alpha, kind)


def align_bent(rgb: ImageU8, matrix: Matrix, recipe: SwapRecipe) -> ImageU8:
    """Cut the face's square out of a frame, bent by recipe.bend_px: (size, size, 3) uint8.

    Bending and alignment share one resampling, so bending does not soften the face.
    """
    size = recipe.size_px
    border = cv2.BORDER_REFLECT_101 if recipe.mirror_border else cv2.BORDER_CONSTANT
    if not recipe.bend_px:
        straight = cv2.warpAffine(rgb, matrix, (size, size), borderMode=border, borderValue=0.0)
        return np.asarray(straight, np.uint8)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    nodes = np.zeros((BEND_NODES + 2, BEND_NODES + 2, 2), dtype=np.float32)
    shape = (2, BEND_NODES, BEND_NODES)
    nodes[1:-1, 1:-1] = np.moveaxis(np.reshape(recipe.bend_px, shape), 0, -1)  # (5, 5, 2)
    bend = cv2.resize(nodes, (size, size), interpolation=cv2.INTER_CUBIC) * (size / SQUARE_PX)
    rows, columns = np.indices((size, size), dtype=np.float32)
    points = np.stack([columns, rows], axis=-1) + np.asarray(bend, np.float32)  # (size, size, 2)
    x, y = cv2.split(cv2.transform(points, inverse))
    bent = cv2.remap(rgb, x, y, cv2.INTER_LINEAR, borderMode=border, borderValue=0.0)
    return np.asarray(bent, np.uint8)


def _blend_donor(target: ImageU8, donor: Donor, recipe: SwapRecipe) -> ImageU8:
    """Blend the donor's aligned face, in the target's colours, into the target's face outline."""
    donor_rgb, donor_keypoints = donor
    matrix = arcface_square(donor_keypoints, recipe.size_px)
    size = (recipe.size_px, recipe.size_px)
    source = cv2.warpAffine(donor_rgb, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    inside = cv2.resize(outline_mask(grow=0.88, forehead=0.3, blur=0.1), size)
    matched = _match_colours(np.asarray(source, np.uint8), target)
    mixed = cv2.blendLinear(matched, target, inside, np.float32(1) - inside)
    return np.asarray(mixed, np.uint8)


def _match_colours(source: ImageU8, target: ImageU8) -> ImageU8:
    """Match the LAB mean and standard deviation of `source` to `target`, in the square's middle."""
    source_lab = cv2.cvtColor(source, cv2.COLOR_RGB2LAB)
    mean, spread = _middle_statistics(source_lab)
    wanted_mean, wanted_spread = _middle_statistics(cv2.cvtColor(target, cv2.COLOR_RGB2LAB))
    gain = np.clip(wanted_spread / np.maximum(spread, 1), 0.6, 1.6)
    matched = cv2.LUT(source_lab, _linear_table(gain, wanted_mean - gain * mean))
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), np.uint8)


def _middle_statistics(lab: NDArray[np.generic]) -> tuple[Matrix, Matrix]:
    """Mean and standard deviation per channel, each (3,), over the middle half of the square."""
    size, step = lab.shape[0], max(1, lab.shape[0] // SQUARE_PX)
    middle = slice(size // 4, 3 * size // 4, step)
    values = np.asarray(lab[middle, middle], np.float64)
    return values.mean(axis=(0, 1)), values.std(axis=(0, 1))


def _linear_table(gain: Matrix, shift: Matrix) -> ImageU8:
    """Look-up table (1, 256, 3) of gain * value + shift per channel, rounded to grey levels."""
    levels = np.arange(256, dtype=np.float64)[:, None]
    return np.clip(np.rint(levels * gain + shift), 0, 255).astype(np.uint8)[None]


def _redraw(face: ImageU8, recipe: SwapRecipe) -> ImageU8:
    """Imitate the generator: change the colours, resolution and sharpness of the face."""
    size = face.shape[0]
    drawn = np.asarray(
        cv2.LUT(face, _linear_table(np.asarray(recipe.gain), np.asarray(recipe.shift))), np.uint8
    )
    if recipe.low_pass_px < SQUARE_PX or recipe.restore:
        # A restorer enlarges the 128-px face; pixel boost draws the larger face directly.
        scale = 1 if recipe.restore else size / SQUARE_PX
        drawn = _low_pass(drawn, round(recipe.low_pass_px * scale))
    if recipe.sharpen:
        drawn = _unsharp(drawn, recipe.sharpen, 1.0)
    if recipe.restore:
        drawn = _unsharp(drawn, recipe.restore, size / SQUARE_PX)
    return drawn


def _low_pass(face: ImageU8, resolution_px: int) -> ImageU8:
    size = face.shape[0]
    small = cv2.resize(face, (resolution_px, resolution_px), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def _unsharp(face: ImageU8, amount: float, sigma: float) -> ImageU8:
    """Unsharp masking with a blur of `sigma` pixels; a negative amount blurs."""
    blurred = cv2.GaussianBlur(face, (0, 0), sigma)
    return np.asarray(cv2.addWeighted(face, 1 + amount, blurred, -amount, 0), np.uint8)
