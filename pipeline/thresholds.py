"""Where a score becomes a verdict. A score at or above a threshold counts as fake."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from pipeline.labels import FAKE, REAL
from pipeline.params import Section

Verdict = Literal["real", "suspicious", "fake", "undecided"]
# From the least to the most alarming: a picture takes the verdict of its worst face.
VERDICTS: tuple[Verdict, ...] = ("real", "undecided", "suspicious", "fake")
Score = Annotated[float, Field(ge=0, le=1)]
FloatArray64 = NDArray[np.float64]


class Thresholds(Section):
    """Three operating points, chosen on validation only.

    best_f1: best F1. low_fpr: at most the wanted share of real faces, softened and compressed
    copies included, reaches it. balanced: best product of true positive and true negative rate.
    """

    best_f1: Score
    low_fpr: Score
    balanced: Score

    @property
    def fake_from(self) -> float:
        """Scores from here on are called fake: a false alarm costs more than a doubt."""
        return self.low_fpr

    @property
    def suspicious_from(self) -> float:
        return min(self.balanced, self.low_fpr)

    def with_fake_from(self, threshold: float) -> "Thresholds":
        """The same with an operator's own limit for "fake"; ValueError outside [0, 1]."""
        return Thresholds(
            best_f1=self.best_f1, low_fpr=threshold, balanced=min(self.balanced, threshold)
        )


def verdict(score: float, thresholds: Thresholds, reasons: Sequence[str] = ()) -> Verdict:
    """Any reason to abstain makes it "undecided", whatever the score in [0, 1]."""
    if reasons:
        return "undecided"
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


def choose_thresholds(
    labels: ArrayLike, scores: ArrayLike, low_fpr: float, soft_real_scores: ArrayLike = ()
) -> Thresholds:
    """Operating points between the observed scores.

    labels: (n,) 0 or 1, both present. scores: (n,) in [0, 1]. low_fpr: in (0, 1).
    soft_real_scores: (m,) scores of softened and compressed copies of the real faces; they and the
    real faces themselves set `low_fpr`. Raises ValueError when a class is absent.
    """
    real, fake = _by_class(labels, scores)
    soft = np.asarray(soft_real_scores, dtype=np.float64)
    candidates = _between(np.concatenate([real, fake]))
    rates = [_rates(real, fake, float(threshold)) for threshold in candidates]
    return Thresholds(
        best_f1=_middle_of_best(candidates, [rate["f1"] for rate in rates]),
        low_fpr=_lowest_with_fpr(np.concatenate([real, soft]), fake, low_fpr),
        balanced=_middle_of_best(candidates, [rate["product"] for rate in rates]),
    )


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


def _lowest_with_fpr(real: FloatArray64, fake: FloatArray64, low_fpr: float) -> float:
    """The lowest midpoint that at most `low_fpr` of the real scores reach; 1 when none does."""
    candidates = _between(np.concatenate([real, fake]))
    fpr = np.array([(real >= threshold).mean() for threshold in candidates])
    reached = candidates[fpr <= low_fpr]
    return float(reached[0]) if len(reached) else 1.0
