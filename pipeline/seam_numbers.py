"""A seam in numbers: texture ring by ring, relative to what lies outside the paste square.

All are differences of logarithms - inside minus outside, ring minus ring, band minus band - so that
gain, contrast and overall softness cancel. Absolute levels inside the face are left out on purpose:
they make a smoothness detector, which calls every soft photo a swap. The one exception is the
sharpness of the surroundings, which says how large a difference could be at all.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocess import FloatArray
from pipeline.seam_rings import BANDS, INSIDE, MAPS, OUTSIDE, OUTSIDE_CELLS

# power: logarithm of the mean square, in which edges count most. log: mean of the logarithm.
Kind = Literal["power", "log"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Array = NDArray[np.float64]

# Cells below which a level is unknown.
MIN_CELLS: Final = 25.0
_FLOOR: Final = 0.02
_COARSEST: Final = BANDS - 1
# Each map against a coarser one: bands against neighbours, both round trips against the third.
_FINER: Final = (0, 1, 2, 3, BANDS, BANDS + 1)
_COARSER: Final = (1, 2, 3, 4, 2, 2)
_TILTED: Final = (0, 1, 2, 3, 4, BANDS, BANDS + 1)
_MAP_NAMES: Final = (*(f"band{i}" for i in range(BANDS)), "trip_area", "trip_bilinear")
_DIFFERENCES: Final = (
    *_MAP_NAMES,
    *(f"{name}_tilt" for name in _MAP_NAMES),
    *(f"slope{i}" for i in range(len(_FINER))),
)
_PROFILE: Final = slice(2, 9)
_STEPS: Final = slice(4, 12)


@dataclass(frozen=True)
class Levels:
    """Half logarithms of energy of n faces; NaN where too little of the picture is there.

    ring: (n, MAPS, RINGS). outside, inside: (n, MAPS). side_outside, side_inside: (n, MAPS, SIDES).
    """

    ring: Array
    outside: Array
    inside: Array
    side_outside: Array
    side_inside: Array


def seam_numbers(statistics: FloatArray) -> FloatArray:
    """(n, 2 * MAPS + 1, RINGS, SIDES) ring statistics -> (n, k) float32, NaN where unknown.

    Columns are named by `number_names`.
    """
    parts = [part for kind in KINDS for part in _parts(band_levels(statistics, kind))]
    return np.concatenate([*parts, _context(statistics)], axis=1).astype(np.float32)


def outside_detail(numbers: FloatArray) -> FloatArray:
    """(n,) detail of the surroundings finer than 128-px texture, against their coarsest band.

    Half a natural logarithm of energy; NaN where there are no surroundings.
    """
    return numbers[:, number_names().index("power_outside_1_0")]


def number_names() -> list[str]:
    """The names of `seam_numbers`' columns."""
    rows = {
        "ring": (_MAP_NAMES, range(2, 9)),
        "tilt": (_DIFFERENCES[MAPS:], range(2, 9)),
        "drop": (_DIFFERENCES, range(1)),
        "side": (_DIFFERENCES, range(3)),
        "step": (_MAP_NAMES, range(4, 11)),
        "outside": (range(len(_TILTED) + len(_FINER)), range(1)),
    }
    names = [
        f"{kind}_{part}_{row}_{mark}"
        for kind in KINDS
        for part, (names, marks) in rows.items()
        for row in names
        for mark in marks
    ]
    return [*names, "outside_share", "outside_sides"]


def band_levels(statistics: FloatArray, kind: Kind) -> Levels:
    """Ring statistics of n faces as levels; a difference of 0.35 is a factor of 2 in energy."""
    sums = np.asarray(statistics, np.float64)
    counts = sums[:, -1]
    first = 0 if kind == "power" else MAPS
    maps = sums[:, first : first + MAPS]

    def level(rings: slice, axes: int | tuple[int, ...]) -> Array:
        count = counts[:, None, rings].sum(axis=axes)
        total = maps[:, :, rings].sum(axis=axes)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count >= MIN_CELLS, total / count, np.nan)
        return np.asarray(0.5 * (np.log(mean + _FLOOR) if kind == "power" else mean))

    return Levels(
        ring=level(slice(None), 3),
        outside=level(OUTSIDE, (2, 3)),
        inside=level(INSIDE, (2, 3)),
        side_outside=level(OUTSIDE, 2),
        side_inside=level(INSIDE, 2),
    )


def _parts(levels: Levels) -> list[Array]:
    """The numbers of one kind, part by part in the order of `number_names`."""
    profile, outside = levels.ring[:, :, _PROFILE], levels.outside[:, :, None]
    tilt = _tilt(profile) - _tilt(outside)
    slope = _slope(profile) - _slope(outside)
    sides = _ordered(_differences(levels.side_inside - levels.side_outside))
    parts = [
        profile - outside,
        np.concatenate([tilt, slope], axis=1),
        _differences(levels.inside - levels.outside),
        sides,
        np.diff(levels.ring[:, :, _STEPS], axis=2),
        np.concatenate([_tilt(levels.outside)[:, _TILTED], _slope(levels.outside)], axis=1),
    ]
    return [part.reshape(len(part), -1) for part in parts]


def _tilt(levels: Array) -> Array:
    """Every map against the coarsest band: what is left of sharpness, whatever the contrast."""
    return levels - levels[:, _COARSEST : _COARSEST + 1]


def _slope(levels: Array) -> Array:
    """(n, MAPS, ...) -> (n, 6, ...): each map against a coarser one."""
    return levels[:, _FINER] - levels[:, _COARSER]


def _differences(difference: Array) -> Array:
    """(n, MAPS[, sides]) inside minus outside -> (n, 2 * MAPS + 6[, sides]): plain, tilt, slope."""
    return np.concatenate([difference, _tilt(difference), _slope(difference)], axis=1)


def _ordered(by_side: Array) -> Array:
    """(n, k, sides) -> (n, k, 3): least, middle and greatest of the sides that are known."""
    known = np.isfinite(by_side).sum(axis=2)
    ascending = np.sort(by_side, axis=2)  # NaN last
    last = np.maximum(known - 1, 0)
    return np.take_along_axis(
        ascending, np.stack([np.zeros_like(last), last // 2, last], axis=2), axis=2
    )


def _context(statistics: FloatArray) -> Array:
    """How much of the surroundings is there, and on how many sides: (n, 2)."""
    outside = np.asarray(statistics, np.float64)[:, -1, OUTSIDE]
    sides = (outside.sum(axis=1) > MIN_CELLS).sum(axis=1)
    return np.stack([outside.sum(axis=(1, 2)) / OUTSIDE_CELLS, sides], axis=1)
