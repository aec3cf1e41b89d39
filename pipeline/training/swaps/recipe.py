"""Random choices of a pseudo-swap, all drawn before any pixel is changed."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pipeline.runtime.sections import PseudoSwapParams
from pipeline.views.paste import SQUARE_PX

PasteKind = Literal["square", "box", "hull"]
HULL_PX: Final = 256
BEND_NODES: Final = 3


@dataclass(frozen=True)
class Hole:
    """Ellipse in template pixels that is not swapped, as if something were in front of the face."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    degrees: float


@dataclass(frozen=True)
class SwapRecipe:
    """Random choices of a swap; all frames of a clip can share one recipe.

    size_px: side of the drawn face (128, or more with pixel boost). use_donor: blend in another
    person's face, if one is given. mirror_border: mirror the image beyond its edge instead of
    filling with INSwapper's black. gain, shift: colour change of the face per RGB channel; the
    shift is in grey levels. bend_px: displacements (all x, then all y) of the inner nodes of a 5x5
    grid, in template pixels. low_pass_px: remaining resolution of the face, out of 128. sharpen:
    amount of unsharp masking, negative blurs. restore: strength of restorer-like detail. grow,
    forehead: size and upper end of the hull. padding: fraction of the box left out at the top,
    right, bottom and left. blur: softness of box and hull masks, as a fraction of the square's
    side.
    """

    kind: PasteKind = "square"
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


def draw_recipe(
    params: PseudoSwapParams, rng: np.random.Generator, kind: PasteKind | None = None
) -> SwapRecipe:
    """Draw a recipe. kind: outline of the paste; None draws it by hull_frac and box_frac."""
    drawn = _draw_kind(params, rng)
    kind = kind or drawn
    # Every value is drawn even if unused, so the kind changes nothing else in the recipe.
    boosted, restored = rng.random(2) < (params.boost_frac, params.restorer_frac)
    boost_px = int(rng.choice((256, 512), p=(0.8, 0.2)))
    restore = float(rng.uniform(0.4, 1.2))
    lowered, shaped, bent, tinted = rng.random(4) < (params.low_pass_frac, 0.5, 0.5, 0.5)
    low_pass = int(rng.integers(params.low_pass_min_px, params.low_pass_max_px + 1))
    sharpen = float(rng.uniform(-0.25, 0.15))
    bend = rng.normal(0, 0.5, 2 * BEND_NODES**2).clip(-1.2, 1.2)
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


def _draw_kind(params: PseudoSwapParams, rng: np.random.Generator) -> PasteKind:
    draw = rng.random()
    if draw < params.hull_frac:
        return "hull"
    return "box" if draw < params.hull_frac + params.box_frac else "square"


def _draw_hole(params: PseudoSwapParams, rng: np.random.Generator) -> Hole | None:
    is_occluded = rng.random() < params.occlusion_frac
    x, y = rng.uniform(10, 118, 2)
    radius_x, radius_y = rng.uniform(6, 26, 2)
    degrees = rng.uniform(0, 180)
    return Hole(*map(float, (x, y, radius_x, radius_y, degrees))) if is_occluded else None


def _face_px(kind: PasteKind, boosted: bool, restored: bool, boost_px: int) -> int:
    if kind == "hull":
        return HULL_PX
    return boost_px if boosted or restored else SQUARE_PX
