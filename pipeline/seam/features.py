"""Seam features: texture of each ring relative to the texture outside the paste square.

All features are differences of logarithms (inside minus outside, ring minus ring, band minus band),
so that gain, contrast and overall softness cancel. Absolute levels inside the face are deliberately
left out: they make a smoothness detector, which flags every soft photo as a swap. The only
exception is the sharpness of the surroundings, which limits how large a difference can be.
"""

from typing import Final

import numpy as np

from pipeline.core.arrays import FloatArray, FloatArray64
from pipeline.seam.rings import (
    BANDS,
    CURVATURE_SIGMAS,
    KINDS,
    MAPS,
    MIN_CELLS,
    OUTSIDE,
    OUTSIDE_CELLS,
    SECTORS_PER_SIDE,
    SIDES,
    Levels,
    band_levels,
)

_COARSEST: Final = BANDS - 1
# Each map is compared with a coarser one: bands with the next band, both round trips with band 2.
_FINER: Final = (0, 1, 2, 3, BANDS, BANDS + 1)
_COARSER: Final = (1, 2, 3, 4, 2, 2)
_TILTED: Final = (0, 1, 2, 3, 4, BANDS, BANDS + 1)
_MAP_NAMES: Final = (*(f"band{i}" for i in range(BANDS)), "trip_area", "trip_bilinear")
_DIFFERENCES: Final = (
    *_MAP_NAMES,
    *(f"{name}_tilt" for name in _MAP_NAMES),
    *(f"slope{i}" for i in range(len(_FINER))),
)
# Curvature at each scale, mixed curvature minus that along the sides, each scale minus the next.
_CURVED: Final = (
    *(f"{way}{i}" for i in range(len(CURVATURE_SIGMAS)) for way in ("along", "mixed")),
    *(f"turn{i}" for i in range(len(CURVATURE_SIGMAS))),
    *(f"bend{i}" for i in range(2 * len(CURVATURE_SIGMAS) - 2)),
)
_QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
_SUMMARY: Final = (*(f"q{round(100 * q)}" for q in _QUANTILES), "mean", "spread", "weighted")
# The band whose energy outside the square weights a sector.
_WEIGHTING_BAND: Final = 3
_PROFILE: Final = slice(2, 9)
_STEPS: Final = slice(4, 12)


def seam_features(statistics: FloatArray) -> FloatArray:
    """(n, 2 * ALL_MAPS + 1, RINGS, SECTORS) ring statistics -> (n, k) float32, NaN where unknown.

    `feature_names` gives the names of the k columns.
    """
    parts = [part for kind in KINDS for part in _parts(band_levels(statistics, kind))]
    return np.concatenate([*parts, _context(statistics)], axis=1).astype(np.float32)


def outside_detail(features: FloatArray) -> FloatArray:
    """(n,) detail of the surroundings finer than 128-px texture, relative to their coarsest band.

    features: (n, k) of `seam_features`. The result is half a natural logarithm of energy, larger
    for sharper surroundings; NaN where there are none.
    """
    return features[:, feature_names().index("power_outside_1_0")]


def feature_names() -> list[str]:
    """Names of the columns of `seam_features`."""
    rows = {
        "ring": (_MAP_NAMES, range(2, 9)),
        "tilt": (_DIFFERENCES[MAPS:], range(2, 9)),
        "drop": (_DIFFERENCES, range(1)),
        "side": (_DIFFERENCES, range(3)),
        "step": (_MAP_NAMES, range(4, 11)),
        "outside": (range(len(_TILTED) + len(_FINER)), range(1)),
        "sector": ((*_DIFFERENCES, *_CURVED), _SUMMARY),
    }
    names = [
        f"{kind}_{part}_{row}_{mark}"
        for kind in KINDS
        for part, (names, marks) in rows.items()
        for row in names
        for mark in marks
    ]
    return [*names, "outside_share", "outside_sides"]


def _parts(levels: Levels) -> list[FloatArray64]:
    """Features of one kind in parts, in the order of `feature_names`; each part is (n, columns)."""
    profile = levels.ring[:, :, _PROFILE]  # (n, MAPS, 7)
    outside = levels.outside[:, :, None]  # (n, MAPS, 1)
    tilt = _tilt(profile) - _tilt(outside)  # (n, MAPS, 7)
    slope = _slope(profile) - _slope(outside)  # (n, 6, 7)
    sides = _ordered(_differences(levels.side_inside - levels.side_outside))
    parts = [
        profile - outside,
        np.concatenate([tilt, slope], axis=1),  # (n, MAPS + 6, 7)
        _differences(levels.inside - levels.outside),  # (n, 2 * MAPS + 6)
        sides,  # (n, 2 * MAPS + 6, 3)
        np.diff(levels.ring[:, :, _STEPS], axis=2),  # (n, MAPS, 7)
        np.concatenate([_tilt(levels.outside)[:, _TILTED], _slope(levels.outside)], axis=1),
        _sectors(levels),  # (n, 2 * MAPS + 6 + 13, 8)
    ]
    return [part.reshape(len(part), -1) for part in parts]


def _tilt(levels: FloatArray64) -> FloatArray64:
    """(n, MAPS, ...): each map minus the coarsest band, which removes contrast from sharpness."""
    return levels - levels[:, _COARSEST : _COARSEST + 1]


def _slope(levels: FloatArray64) -> FloatArray64:
    """(n, MAPS, ...) -> (n, 6, ...): maps minus a coarser map."""
    return levels[:, _FINER] - levels[:, _COARSER]


def _differences(difference: FloatArray64) -> FloatArray64:
    """(n, MAPS[, sides]) inside minus outside -> (n, 2 * MAPS + 6[, sides]): plain, tilt, slope."""
    return np.concatenate([difference, _tilt(difference), _slope(difference)], axis=1)


def _sectors(levels: Levels) -> FloatArray64:
    """Distribution over the sectors of the differences inside minus outside: (n, k, 8).

    A paste weakens every sector; a sharp collar or a soft background weakens only some.
    """
    drop = levels.sector_inside - levels.sector_outside  # (n, ALL_MAPS, SECTORS)
    differences = np.concatenate([_differences(drop[:, :MAPS]), _curved(drop[:, MAPS:])], axis=1)
    energy = np.exp(2 * levels.sector_outside[:, _WEIGHTING_BAND])  # (n, SECTORS)
    return np.stack([_summary(*face) for face in zip(differences, energy, strict=True)])


def _curved(drop: FloatArray64) -> FloatArray64:
    """(n, CURVATURES, sectors) -> (n, 13, sectors): plain, mixed minus along, fine minus coarse."""
    turn = drop[:, 1::2] - drop[:, ::2]  # (n, 3, sectors)
    return np.concatenate([drop, turn, drop[:, :-2] - drop[:, 2:]], axis=1)


def _summary(by_sector: FloatArray64, weights: FloatArray64) -> FloatArray64:
    """(k, sectors) of one face -> (k, 8): the _SUMMARY of the known sectors."""
    known = np.isfinite(by_sector).all(axis=0)
    if not known.any():
        return np.full((len(by_sector), len(_SUMMARY)), np.nan)
    values = by_sector[:, known]
    mean = np.average(values, axis=1, weights=weights[known])
    rows = [*np.quantile(values, _QUANTILES, axis=1), values.mean(axis=1), values.std(axis=1), mean]
    return np.stack(rows, axis=1)


def _ordered(by_side: FloatArray64) -> FloatArray64:
    """(n, k, sides) -> (n, k, 3): minimum, lower median and maximum of the known sides."""
    known = np.isfinite(by_side).sum(axis=2)
    ascending = np.sort(by_side, axis=2)  # NaN last
    last = np.maximum(known - 1, 0)
    return np.take_along_axis(
        ascending, np.stack([np.zeros_like(last), last // 2, last], axis=2), axis=2
    )


def _context(statistics: FloatArray) -> FloatArray64:
    """(n, 2): fraction of the surroundings inside the image, and number of sides that have some."""
    outside = np.asarray(statistics, np.float64)[:, -1, OUTSIDE].sum(axis=1)  # (n, SECTORS)
    sides = outside.reshape(len(outside), SIDES, SECTORS_PER_SIDE).sum(axis=2) > MIN_CELLS
    return np.stack([outside.sum(axis=1) / OUTSIDE_CELLS, sides.sum(axis=1)], axis=1)
