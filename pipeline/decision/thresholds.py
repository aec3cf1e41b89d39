"""Thresholds between scores and verdicts. A score at or above a threshold counts as fake."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pipeline.core.arrays import FloatArray64
from pipeline.core.labels import FAKE, REAL
from pipeline.runtime.sections import StrictModel

Verdict = Literal["real", "suspicious", "fake", "undecided"]
# From the least to the most alarming: an image takes the verdict of its worst face.
VERDICTS: tuple[Verdict, ...] = ("real", "undecided", "suspicious", "fake")
Score = Annotated[float, Field(ge=0, le=1)]


class Thresholds(StrictModel):
    """Operating points, chosen on validation only.

    best_f1: best F1. balanced: best product of true positive and true negative rate. low_fpr,
    suspicious: at most the wanted fractions of real faces and their degraded copies reach them.
    """

    best_f1: Score
    low_fpr: Score
    balanced: Score
    suspicious: Score

    @property
    def fake_from(self) -> float:
        """Lowest score flagged fake: a false alarm costs more than an undecided face."""
        return self.low_fpr

    @property
    def suspicious_from(self) -> float:
        return min(self.suspicious, self.low_fpr)

    def with_fake_from(self, threshold: float) -> "Thresholds":
        """A copy with the operator's own limit for "fake". Raises ValueError outside [0, 1]."""
        return Thresholds(**{**self.model_dump(), "low_fpr": threshold})


def verdict(score: float, thresholds: Thresholds) -> Verdict:
    """The verdict for a score in [0, 1] alone."""
    if score >= thresholds.fake_from:
        return "fake"
    return "suspicious" if score >= thresholds.suspicious_from else "real"


def sweep(labels: ArrayLike, scores: ArrayLike, steps: int) -> list[dict[str, float]]:
    """Rates at `steps` thresholds spread evenly inside (0, 1), ascending.

    labels: (n,) 0 or 1, both present. scores: (n,) in [0, 1].
    Raises ValueError when a class is absent.
    """
    grid = np.arange(1, steps + 1) / (steps + 1)
    real, fake = _by_class(labels, scores)
    return [_rates(real, fake, float(threshold)) for threshold in grid]


def choose_thresholds(labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """best_f1 and balanced, between the observed scores.

    labels: (n,) 0 or 1, both present. scores: (n,) in [0, 1].
    Raises ValueError when a class is absent.
    """
    real, fake = _by_class(labels, scores)
    candidates = _between(np.concatenate([real, fake]))
    rates = [_rates(real, fake, float(threshold)) for threshold in candidates]
    return {
        "best_f1": _middle_of_best(candidates, [rate["f1"] for rate in rates]),
        "balanced": _middle_of_best(candidates, [rate["product"] for rate in rates]),
    }


def lowest_with_fpr(real_scores: ArrayLike, weights: ArrayLike, fpr: float) -> float:
    """The lowest threshold that at most `fpr` of the real faces reach; 1 if there is none.

    real_scores, weights: (n,); weights above 0.
    """
    scores, shares = (np.asarray(part, dtype=np.float64) for part in (real_scores, weights))
    order = np.argsort(scores)
    # Weight of all scores at or above each one.
    reaching = np.cumsum((shares / shares.sum())[order][::-1])[::-1]
    candidates = _between(scores)
    places = np.searchsorted(scores[order], candidates, side="left")
    rates = np.append(reaching, 0.0)[places]
    reached = candidates[rates <= fpr + 1e-12]
    return float(reached[0]) if len(reached) else 1.0


def _by_class(labels: ArrayLike, scores: ArrayLike) -> tuple[FloatArray64, FloatArray64]:
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    real, fake = values[truth == REAL], values[truth == FAKE]
    if not len(real) or not len(fake):
        raise ValueError(f"both classes are needed, got {len(real)} real and {len(fake)} fake")
    return real, fake


def _rates(real: FloatArray64, fake: FloatArray64, threshold: float) -> dict[str, float]:
    hits, alarms = int((fake >= threshold).sum()), int((real >= threshold).sum())
    recall, fpr = hits / len(fake), alarms / len(real)
    return {
        "threshold": threshold,
        "recall": recall,
        "fpr": fpr,
        "precision": hits / (hits + alarms) if hits + alarms else 0.0,
        "f1": 2 * hits / (len(fake) + hits + alarms),
        "product": recall * (1 - fpr),
    }


def _between(values: FloatArray64) -> FloatArray64:
    """Midpoints of neighbouring distinct values, 0 and 1 among them: ascending, six decimals."""
    distinct = np.unique(np.concatenate([[0.0], values, [1.0]]))
    return np.unique(np.round((distinct[1:] + distinct[:-1]) / 2, 6))


def _middle_of_best(candidates: FloatArray64, values: list[float]) -> float:
    """The candidate in the middle of the longest run that reaches the best value."""
    best = np.flatnonzero(np.asarray(values) >= max(values) - 1e-12)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return float(candidates[longest[len(longest) // 2]])
