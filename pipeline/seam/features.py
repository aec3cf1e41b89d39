"""A seam in numbers: texture ring by ring, relative to what lies outside the paste square.

All are differences of logarithms - inside minus outside, ring minus ring, band minus band - so that
gain, contrast and overall softness cancel. Absolute levels inside the face are left out on purpose:
they make a smoothness detector, which calls every soft photo a swap. The one exception is the
sharpness of the surroundings, which says how large a difference could be at all.
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
# Curvature of each scale, mixed curvature against that along the sides, and against coarser ones.
_CURVED: Final = (
    *(f"{way}{i}" for i in range(len(CURVATURE_SIGMAS)) for way in ("along", "mixed")),
    *(f"turn{i}" for i in range(len(CURVATURE_SIGMAS))),
    *(f"bend{i}" for i in range(2 * len(CURVATURE_SIGMAS) - 2)),
)
_QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
_SUMMARY: Final = (*(f"q{round(100 * q)}" for q in _QUANTILES), "mean", "spread", "weighted")
# The band whose energy outside says how much a sector has to tell.
_WEIGHING_BAND: Final = 3
_PROFILE: Final = slice(2, 9)
_STEPS: Final = slice(4, 12)


def seam_features(statistics: FloatArray) -> FloatArray:
    """(n, 2 * ALL_MAPS + 1, RINGS, SECTORS) ring statistics -> (n, k) float32, NaN where unknown.

    Columns are named by `feature_names`.
    """
    parts = [part for kind in KINDS for part in _parts(band_levels(statistics, kind))]
    return np.concatenate([*parts, _context(statistics)], axis=1).astype(np.float32)


def outside_detail(numbers: FloatArray) -> FloatArray:
    """(n,) detail of the surroundings finer than 128-px texture, against their coarsest band.

    Half a natural logarithm of energy; NaN where there are no surroundings.
    """
    return numbers[:, feature_names().index("power_outside_1_0")]


def feature_names() -> list[str]:
    """The names of `seam_features`' columns."""
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
    """The numbers of one kind, part by part in the order of `feature_names`."""
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
        _sectors(levels),
    ]
    return [part.reshape(len(part), -1) for part in parts]


def _tilt(levels: FloatArray64) -> FloatArray64:
    """Every map against the coarsest band: what is left of sharpness, whatever the contrast."""
    return levels - levels[:, _COARSEST : _COARSEST + 1]


def _slope(levels: FloatArray64) -> FloatArray64:
    """(n, MAPS, ...) -> (n, 6, ...): each map against a coarser one."""
    return levels[:, _FINER] - levels[:, _COARSER]


def _differences(difference: FloatArray64) -> FloatArray64:
    """(n, MAPS[, sides]) inside minus outside -> (n, 2 * MAPS + 6[, sides]): plain, tilt, slope."""
    return np.concatenate([difference, _tilt(difference), _slope(difference)], axis=1)


def _sectors(levels: Levels) -> FloatArray64:
    """How the sectors along the seam differ, inside to outside: (n, k, 8).

    A paste weakens every sector; a sharp collar or a soft background only some.
    """
    drop = levels.sector_inside - levels.sector_outside
    differences = np.concatenate([_differences(drop[:, :MAPS]), _curved(drop[:, MAPS:])], axis=1)
    energy = np.exp(2 * levels.sector_outside[:, _WEIGHING_BAND])
    return np.stack([_summary(*face) for face in zip(differences, energy, strict=True)])


def _curved(drop: FloatArray64) -> FloatArray64:
    """(n, CURVATURES, sectors) -> (n, 13, sectors): plain, mixed to along, fine to coarse."""
    turn = drop[:, 1::2] - drop[:, ::2]
    return np.concatenate([drop, turn, drop[:, :-2] - drop[:, 2:]], axis=1)


def _summary(by_sector: FloatArray64, weights: FloatArray64) -> FloatArray64:
    """(k, sectors) of one face -> (k, 8), over the sectors that are known."""
    known = np.isfinite(by_sector).all(axis=0)
    if not known.any():
        return np.full((len(by_sector), len(_SUMMARY)), np.nan)
    values = by_sector[:, known]
    mean = np.average(values, axis=1, weights=weights[known])
    rows = [*np.quantile(values, _QUANTILES, axis=1), values.mean(axis=1), values.std(axis=1), mean]
    return np.stack(rows, axis=1)


def _ordered(by_side: FloatArray64) -> FloatArray64:
    """(n, k, sides) -> (n, k, 3): least, middle and greatest of the sides that are known."""
    known = np.isfinite(by_side).sum(axis=2)
    ascending = np.sort(by_side, axis=2)  # NaN last
    last = np.maximum(known - 1, 0)
    return np.take_along_axis(
        ascending, np.stack([np.zeros_like(last), last // 2, last], axis=2), axis=2
    )


def _context(statistics: FloatArray) -> FloatArray64:
    """How much of the surroundings is there, and on how many sides: (n, 2)."""
    outside = np.asarray(statistics, np.float64)[:, -1, OUTSIDE].sum(axis=1)
    sides = outside.reshape(len(outside), SIDES, SECTORS_PER_SIDE).sum(axis=2) > MIN_CELLS
    return np.stack([outside.sum(axis=1) / OUTSIDE_CELLS, sides.sum(axis=1)], axis=1)
