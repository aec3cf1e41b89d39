"""Ring statistics as levels: half logarithms of energy, of rings, sides and sectors."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocess import FloatArray
from pipeline.seam_rings import (
    ALL_MAPS,
    INSIDE,
    MAPS,
    NEAR_SEAM,
    OUTSIDE,
    SECTORS_PER_SIDE,
    SIDES,
)

# power: logarithm of the mean square, in which edges count most. log: mean of the logarithm.
Kind = Literal["power", "log"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Array = NDArray[np.float64]

# Cells below which a level is unknown.
MIN_CELLS: Final = 25.0
SECTOR_MIN_CELLS: Final = 12.0
_FLOOR: Final = 0.02


@dataclass(frozen=True)
class Levels:
    """Half logarithms of energy of n faces; NaN where too little of the picture is there.

    ring: (n, MAPS, RINGS). outside, inside: (n, MAPS). side_outside, side_inside: (n, MAPS, SIDES).
    sector_outside, sector_inside: (n, ALL_MAPS, SECTORS), inside being next to the seam alone.
    """

    ring: Array
    outside: Array
    inside: Array
    side_outside: Array
    side_inside: Array
    sector_outside: Array
    sector_inside: Array


def band_levels(statistics: FloatArray, kind: Kind) -> Levels:
    """(n, 2 * ALL_MAPS + 1, RINGS, SECTORS) as levels; 0.35 more is a factor of 2 in energy."""
    sums = np.asarray(statistics, np.float64)
    first = 0 if kind == "power" else ALL_MAPS
    counts, sectors = sums[:, -1:], sums[:, first : first + ALL_MAPS]

    def level(maps: Array, counts: Array, axes: int | tuple[int, ...], fewest: float) -> Array:
        count, total = counts.sum(axis=axes), maps.sum(axis=axes)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count >= fewest, total / count, np.nan)
        return np.asarray(0.5 * (np.log(mean + _FLOOR) if kind == "power" else mean))

    def of_rings(rings: slice, axes: int | tuple[int, ...]) -> Array:
        return level(_sides(sectors[:, :MAPS, rings]), _sides(counts[:, :, rings]), axes, MIN_CELLS)

    def of_sectors(rings: slice) -> Array:
        return level(sectors[:, :, rings], counts[:, :, rings], 2, SECTOR_MIN_CELLS)

    return Levels(
        ring=of_rings(slice(None), 3),
        outside=of_rings(OUTSIDE, (2, 3)),
        inside=of_rings(INSIDE, (2, 3)),
        side_outside=of_rings(OUTSIDE, 2),
        side_inside=of_rings(INSIDE, 2),
        sector_outside=of_sectors(OUTSIDE),
        sector_inside=of_sectors(NEAR_SEAM),
    )


def _sides(sectors: Array) -> Array:
    """(n, k, rings, SECTORS) -> (n, k, rings, SIDES)"""
    by_side: Array = sectors.reshape(*sectors.shape[:3], SIDES, SECTORS_PER_SIDE).sum(axis=4)
    return by_side
