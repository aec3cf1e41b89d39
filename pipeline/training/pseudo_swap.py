"""Swaps made from real frames, in INSwapper's geometry.

A face is aligned to INSwapper's 128-px square, changed slightly, and pasted back with INSwapper's
own arithmetic: what a detector can learn from it is the resampling and the square, not a generator.
With inswapper_128.onnx on disk, `InswapperGenerator` runs the real network by the same interface.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.errors import WeightsError
from pipeline.params import PseudoSwapParams
from pipeline.preprocess import FloatArray, ImageU8
from pipeline.seam import (
    SQUARE_PX,
    Matrix,
    Rect,
    arcface_square,
    paste_alpha_patch,
    warp_back,
)

Kind = Literal["square", "box", "hull"]
# A picture (H, W, 3) uint8 and its five keypoints (5, 2).
Donor = tuple[ImageU8, FloatArray]

HULL_PX: Final = 256
ARCFACE_PX: Final = 112
_BEND_NODES: Final = 3

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


@dataclass(frozen=True, eq=False)
class Swap:
    """A swapped frame. rgb: (H, W, 3) uint8. alpha: (H, W) float32, share of the pasted face."""

    rgb: ImageU8
    alpha: FloatArray
    kind: Kind = "square"


@dataclass(frozen=True)
class Hole:
    """Ellipse in template pixels where something in front of the face is left uncovered."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    degrees: float


@dataclass(frozen=True)
class SwapRecipe:
    """Everything random about a swap, so that all frames of a clip can share it.

    size_px: side of the drawn face (128, or more with pixel boost). use_donor: blend another
    person's face in, where one is given. mirror_border: mirror the picture beyond its edge instead
    of INSwapper's black. gain, shift: colour change of the face, per RGB channel, grey levels.
    bend_px: displacements (all x, then all y) of the inner nodes of a 5x5 grid, template pixels.
    low_pass_px: resolution left in the face, of 128. sharpen: amount of unsharp masking, negative
    softens. restore: strength of restorer-like detail. grow, forehead: size of the hull and how
    high it reaches. padding: share of the box left out at top, right, bottom and left. blur:
    softness of box and hull masks, of the square's side.
    """

    kind: Kind = "square"
    size_px: int = SQUARE_PX
    use_donor: bool = False
    mirror_border: bool = False
    gain: tuple[float, ...] = (1.0, 1.0, 1.0)
    shift: tuple[float, ...] = (0.0, 0.0, 0.0)
    bend_px: tuple[float, ...] = ()
    low_pass_px: int = SQUARE_PX
    sharpen: float = 0.0
    restore: float = 0.0
    grow: float = 1.0
    forehead: float = 0.5
    padding: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    blur: float = 0.1
    hole: Hole | None = None


class FaceSwapper(Protocol):
    """What makes a fake of a real frame; deterministic from the recipe."""

    def draw(self, rng: np.random.Generator, kind: Kind | None = None) -> SwapRecipe: ...

    def apply(
        self, rgb: ImageU8, keypoints: FloatArray, recipe: SwapRecipe, donor: Donor | None = None
    ) -> Swap: ...


class PseudoSwapper:
    """Makes pseudo-swaps; all randomness is drawn first, into a `SwapRecipe`."""

    def __init__(self, params: PseudoSwapParams) -> None:
        self._params = params

    def swap(
        self,
        rgb: ImageU8,
        keypoints: FloatArray,
        rng: np.random.Generator,
        donor: Donor | None = None,
        kind: Kind | None = None,
    ) -> Swap:
        """Draw a recipe and apply it. Arguments as in `draw` and `apply`."""
        return self.apply(rgb, keypoints, self.draw(rng, kind), donor)

    def draw(self, rng: np.random.Generator, kind: Kind | None = None) -> SwapRecipe:
        """A random recipe. kind: the paste's outline; None draws it by hull_frac and box_frac."""
        params = self._params
        drawn = _draw_kind(params, rng)
        kind = kind or drawn
        # Every number is drawn, used or not: the kind then changes nothing else in the recipe.
        boosted, restored = rng.random(2) < (params.boost_frac, params.restorer_frac)
        boost_px = int(rng.choice((256, 512), p=(0.8, 0.2)))
        restore = float(rng.uniform(0.4, 1.2))
        lowered, shaped, bent, tinted = rng.random(4) < (params.low_pass_frac, 0.5, 0.5, 0.5)
        low_pass = int(rng.integers(params.low_pass_min_px, params.low_pass_max_px + 1))
        sharpen = float(rng.uniform(-0.25, 0.15))
        bend = rng.normal(0, 0.5, 2 * _BEND_NODES**2).clip(-1.2, 1.2)
        gain = 1 + rng.normal(0, 0.03) + rng.normal(0, 0.01, 3)
        shift = rng.normal(0, 2.5) + rng.normal(0, 1.0, 3)
        return SwapRecipe(
            kind=kind,
            size_px=_face_px(kind, bool(boosted), bool(restored), boost_px),
            use_donor=bool(rng.random() < params.cross_identity_frac),
            mirror_border=bool(rng.random() >= params.black_border_frac),
            gain=tuple(map(float, gain)),
            shift=tuple(map(float, shift if tinted else shift / 3)),
            bend_px=tuple(map(float, bend)) if bent else (),
            low_pass_px=low_pass if lowered else SQUARE_PX,
            sharpen=sharpen if shaped else 0.0,
            restore=restore if restored else 0.0,
            grow=float(rng.uniform(0.85, 1.05)),
            forehead=float(rng.uniform(0, 1)),
            padding=tuple(map(float, rng.uniform(0, 0.12, 4))),
            blur=float(rng.uniform(0.04, 0.12) if kind == "hull" else rng.uniform(0.08, 0.2)),
            hole=_draw_hole(params, rng),
        )

    def apply(
        self, rgb: ImageU8, keypoints: FloatArray, recipe: SwapRecipe, donor: Donor | None = None
    ) -> Swap:
        """Swap one face; `rgb` is left as it is.

        rgb: (H, W, 3) uint8. keypoints: (5, 2) pixels, ArcFace order. donor: another person's
        picture and keypoints, used when the recipe says so. A face whose square lies outside the
        frame leaves the frame unchanged and alpha 0. Raises ValueError for unusable keypoints.
        """
        matrix = arcface_square(keypoints, recipe.size_px)
        target = align_bent(rgb, matrix, recipe)
        source = target
        if donor is not None and recipe.use_donor:
            source = _blend_donor(target, donor, recipe)
        face = _redraw(source, recipe)
        alpha, rect = _recipe_alpha(keypoints, recipe, (rgb.shape[0], rgb.shape[1]))
        return paste(rgb, face, matrix, alpha, rect, recipe.kind)


class InswapperGenerator:
    """The real inswapper_128.onnx (non-commercial; not part of this project).

    Follows insightface's INSwapper.get. The source identity is the donor's; without a donor the
    target keeps its own. The mask and the border are INSwapper's, whatever the recipe says.
    """

    def __init__(self, onnx_path: Path, embedder: "ArcfaceEmbedder") -> None:
        """Raises WeightsError naming the file when it is absent or not an INSwapper network."""
        import onnx  # only needed here: the projection lies in the graph, not in its outputs

        self._session = _open_onnx(onnx_path, "the INSwapper network")
        self._embedder = embedder
        self._names = [node.name for node in self._session.get_inputs()]
        initializers = onnx.load(str(onnx_path)).graph.initializer
        if len(self._names) != 2 or not initializers:
            raise WeightsError(f"{onnx_path}: expected two inputs, got {self._names}")
        self._emap = onnx.numpy_helper.to_array(initializers[-1])

    def draw(self, rng: np.random.Generator, kind: Kind | None = None) -> SwapRecipe:  # noqa: ARG002
        """INSwapper's own recipe: nothing about it is random."""
        return SwapRecipe(use_donor=True)

    def swap(
        self,
        rgb: ImageU8,
        keypoints: FloatArray,
        rng: np.random.Generator,
        donor: Donor | None = None,
        kind: Kind | None = None,
    ) -> Swap:
        """As `PseudoSwapper.swap`."""
        return self.apply(rgb, keypoints, self.draw(rng, kind), donor)

    def apply(
        self,
        rgb: ImageU8,
        keypoints: FloatArray,
        recipe: SwapRecipe,  # noqa: ARG002
        donor: Donor | None = None,
    ) -> Swap:
        """As `PseudoSwapper.apply`; the face is the network's."""
        matrix = arcface_square(keypoints)
        aligned = cv2.warpAffine(rgb, matrix, (SQUARE_PX, SQUARE_PX), borderValue=0.0)
        blob = np.moveaxis(np.asarray(aligned, np.float32) / np.float32(255), -1, 0)[None]
        feeds = {self._names[0]: blob, self._names[1]: self._latent(donor or (rgb, keypoints))}
        drawn = np.asarray(self._session.run(None, feeds)[0][0])
        face = np.clip(255 * np.moveaxis(drawn, 0, -1), 0, 255).astype(np.uint8)
        alpha, rect = paste_alpha_patch(matrix, SQUARE_PX, (rgb.shape[0], rgb.shape[1]))
        return paste(rgb, face, matrix, alpha, rect, "square")

    def _latent(self, source: Donor) -> FloatArray:
        embedding = self._embedder.embed(*source)
        if embedding.shape[0] != self._emap.shape[0]:
            raise WeightsError(
                f"the embedding has {embedding.shape[0]} numbers, the INSwapper network expects"
                f" {self._emap.shape[0]} (buffalo_l's w600k_r50.onnx)"
            )
        latent = embedding[None] @ self._emap
        return np.asarray(latent / np.linalg.norm(latent), np.float32)


class ArcfaceEmbedder:
    """Identity embedding from an ArcFace ONNX file (input 1x3x112x112, RGB, scaled to +-1)."""

    def __init__(self, onnx_path: Path) -> None:
        """Raises WeightsError naming the file when it is absent."""
        self._session = _open_onnx(onnx_path, "the ArcFace network")
        self._name = self._session.get_inputs()[0].name

    def embed(self, rgb: ImageU8, keypoints: FloatArray) -> FloatArray:
        """(H, W, 3) uint8 and (5, 2) keypoints -> (D,) float32 of length 1."""
        matrix = _arcface_matrix(keypoints)
        aligned = cv2.warpAffine(rgb, matrix, (ARCFACE_PX, ARCFACE_PX), borderValue=0.0)
        scaled = (np.asarray(aligned, np.float32) - np.float32(127.5)) / np.float32(127.5)
        outputs = self._session.run(None, {self._name: np.moveaxis(scaled, -1, 0)[None]})
        embedding = np.asarray(outputs[0][0], np.float32)
        return np.asarray(embedding / np.linalg.norm(embedding), np.float32)


def paste(
    rgb: ImageU8,
    face: ImageU8,
    matrix: Matrix,
    alpha_patch: FloatArray,
    rect: Rect | None,
    kind: Kind = "square",
) -> Swap:
    """Paste a drawn face as INSwapper does: bilinear, mixed in float, cut to whole grey levels.

    face: (size, size, 3) uint8. matrix: (2, 3) frame -> square. alpha_patch: mask of `rect`, the
    part of the frame that changes; None leaves the frame as it is.
    """
    swapped, alpha = rgb.copy(), np.zeros(rgb.shape[:2], dtype=np.float32)
    if rect is not None:
        share = cv2.merge([alpha_patch] * 3)  # (h, w) -> (h, w, 3), faster than broadcasting
        drawn = warp_back(face, matrix, rect).astype(np.float32)
        kept = (np.float32(1) - share) * rgb[rect.slices].astype(np.float32)
        swapped[rect.slices] = (share * drawn + kept).astype(np.uint8)
        alpha[rect.slices] = np.minimum(alpha_patch, 1)
    return Swap(swapped, alpha, kind)


def align_bent(rgb: ImageU8, matrix: Matrix, recipe: SwapRecipe) -> ImageU8:
    """Cut the face's square out of a frame, bent as the recipe says: (size, size, 3) uint8.

    Bending and alignment are one resampling, so that bending does not soften the face.
    """
    size = recipe.size_px
    border = cv2.BORDER_REFLECT_101 if recipe.mirror_border else cv2.BORDER_CONSTANT
    if not recipe.bend_px:
        straight = cv2.warpAffine(rgb, matrix, (size, size), borderMode=border, borderValue=0.0)
        return np.asarray(straight, np.uint8)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    nodes = np.zeros((_BEND_NODES + 2, _BEND_NODES + 2, 2), dtype=np.float32)
    shape = (2, _BEND_NODES, _BEND_NODES)
    nodes[1:-1, 1:-1] = np.moveaxis(np.reshape(recipe.bend_px, shape), 0, -1)
    bend = cv2.resize(nodes, (size, size), interpolation=cv2.INTER_CUBIC) * (size / SQUARE_PX)
    rows, columns = np.indices((size, size), dtype=np.float32)
    points = np.stack([columns, rows], axis=-1) + np.asarray(bend, np.float32)
    x, y = cv2.split(cv2.transform(points, inverse))
    bent = cv2.remap(rgb, x, y, cv2.INTER_LINEAR, borderMode=border, borderValue=0.0)
    return np.asarray(bent, np.uint8)


def _draw_kind(params: PseudoSwapParams, rng: np.random.Generator) -> Kind:
    lot = rng.random()
    if lot < params.hull_frac:
        return "hull"
    return "box" if lot < params.hull_frac + params.box_frac else "square"


def _draw_hole(params: PseudoSwapParams, rng: np.random.Generator) -> Hole | None:
    wanted = rng.random() < params.occlusion_frac
    x, y = rng.uniform(10, 118, 2)
    radius_x, radius_y = rng.uniform(6, 26, 2)
    degrees = rng.uniform(0, 180)
    return Hole(*map(float, (x, y, radius_x, radius_y, degrees))) if wanted else None


def _face_px(kind: Kind, boosted: bool, restored: bool, boost_px: int) -> int:
    if kind == "hull":
        return HULL_PX
    return boost_px if boosted or restored else SQUARE_PX


def _blend_donor(target: ImageU8, donor: Donor, recipe: SwapRecipe) -> ImageU8:
    """The donor's aligned face, in the target's colours, inside the face outline of the target."""
    donor_rgb, donor_keypoints = donor
    matrix = arcface_square(donor_keypoints, recipe.size_px)
    size = (recipe.size_px, recipe.size_px)
    source = cv2.warpAffine(donor_rgb, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    inside = cv2.resize(_outline_mask(grow=0.88, forehead=0.3, blur=0.1), size)
    matched = _match_colours(np.asarray(source, np.uint8), target)
    mixed = cv2.blendLinear(matched, target, inside, np.float32(1) - inside)
    return np.asarray(mixed, np.uint8)


def _match_colours(source: ImageU8, target: ImageU8) -> ImageU8:
    """Give `source` the mean and spread of `target` in LAB, taken from the middle of the square."""
    source_lab = cv2.cvtColor(source, cv2.COLOR_RGB2LAB)
    mean, spread = _middle_statistics(source_lab)
    wanted_mean, wanted_spread = _middle_statistics(cv2.cvtColor(target, cv2.COLOR_RGB2LAB))
    gain = np.clip(wanted_spread / np.maximum(spread, 1), 0.6, 1.6)
    matched = cv2.LUT(source_lab, _linear_table(gain, wanted_mean - gain * mean))
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), np.uint8)


def _middle_statistics(lab: NDArray[np.generic]) -> tuple[Matrix, Matrix]:
    """Mean and standard deviation per channel over the middle half of the square."""
    size, step = lab.shape[0], max(1, lab.shape[0] // SQUARE_PX)
    middle = slice(size // 4, 3 * size // 4, step)
    values = np.asarray(lab[middle, middle], np.float64)
    return values.mean(axis=(0, 1)), values.std(axis=(0, 1))


def _linear_table(gain: Matrix, shift: Matrix) -> ImageU8:
    """Look-up table (1, 256, 3) of gain * value + shift, per channel, in whole grey levels."""
    levels = np.arange(256, dtype=np.float64)[:, None]
    return np.clip(np.rint(levels * gain + shift), 0, 255).astype(np.uint8)[None]


def _redraw(face: ImageU8, recipe: SwapRecipe) -> ImageU8:
    """What stands for the generator: colours, resolution and sharpness of the face are changed."""
    size = face.shape[0]
    drawn = np.asarray(
        cv2.LUT(face, _linear_table(np.asarray(recipe.gain), np.asarray(recipe.shift))), np.uint8
    )
    if recipe.low_pass_px < SQUARE_PX or recipe.restore:
        # A restorer gets the 128-px face and draws larger; pixel boost draws larger to begin with.
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
    """Add `amount` of what a blur of `sigma` pixels takes away; a negative amount blurs."""
    blurred = cv2.GaussianBlur(face, (0, 0), sigma)
    return np.asarray(cv2.addWeighted(face, 1 + amount, blurred, -amount, 0), np.uint8)


def _recipe_alpha(
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
        outline = _outline_mask(recipe.grow, recipe.forehead, recipe.blur)
        alpha = warp_back(outline, matrix, rect)
    if recipe.hole is not None:
        alpha = alpha * (np.float32(1) - warp_back(_hole_mask(recipe.hole), matrix, rect))
    return alpha, rect


def _outline_mask(grow: float, forehead: float, blur: float) -> FloatArray:
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


def _arcface_matrix(keypoints: FloatArray) -> Matrix:
    """Frame -> ArcFace's 112-px square, which is INSwapper's without its 8 px at the left."""
    matrix = arcface_square(keypoints)
    matrix[0, 2] -= 8
    return matrix


def _open_onnx(path: Path, what: str) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise WeightsError(f"{path}: not found; {what} is not part of this project")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class
        raise WeightsError(f"{path}: cannot be loaded as an ONNX network ({error})") from error
