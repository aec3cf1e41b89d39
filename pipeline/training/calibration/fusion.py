"""Fusion of the heads, fitted on validation: a temperature, or logistic weights."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brute, fmin
from sklearn.linear_model import LogisticRegression

from pipeline.core.files import six_digits
from pipeline.core.labels import FAKE, REAL
from pipeline.decision.fusion import (
    FUSED_HEADS,
    LearnedFusion,
    LogisticWeights,
    fuse_face,
    mean_logits,
)
from pipeline.runtime.sections import FusionParams
from pipeline.training.scoring.copies import Pool

TEMPERATURE_RANGE = (0.2, 10.0)
GRID = 41
# Faces per class that a kind of faces needs for limits and weights of its own.
FEWEST_FACES = 40
_TINY = 1e-7


def fit_temperature(pool: Pool, fusion: FusionParams) -> float:
    """The temperature with the least negative log likelihood of the fused score, within 0.2 to 10.

    The loss may have several valleys, so a grid over the logarithm is searched before the bottom
    of its best valley. No randomness.
    """

    def loss(log_temperature: NDArray[np.float64]) -> float:
        scores = fuse_face(pool.evidence, float(np.exp(log_temperature.item())), fusion)
        return log_loss(pool.labels, scores, pool.weights)

    lowest = brute(loss, [tuple(np.log(TEMPERATURE_RANGE))], Ns=GRID, finish=fmin, disp=False)
    return six_digits(np.clip(np.exp(lowest.item()), *TEMPERATURE_RANGE))


def fit_fusion(pool: Pool, tight_below: float) -> LearnedFusion:
    """Logistic weights, separately for faces with and without surroundings if both are many enough.

    Without a visible seam the seam trees are uninformative and the network is less informative.
    """
    lacks_surroundings = pool.evidence.surroundings < tight_below
    parts = [pool.where(chosen) for chosen in (~lacks_surroundings, lacks_surroundings)]
    if min(fewest(part) for part in parts) < FEWEST_FACES:
        return LearnedFusion(**fit_weights(pool).model_dump())
    open_weights, tight = (fit_weights(part) for part in parts)
    return LearnedFusion(**open_weights.model_dump(), tight=tight, tight_below=tight_below)


def fit_weights(pool: Pool) -> LogisticWeights:
    """Logistic regression of the label on the heads' mean logits and the tree logit, L2 strength 1.

    A negative weight is set to 0 by leaving its input out: more evidence must never lower a score.
    """
    columns = mean_logits(pool.evidence)
    if pool.evidence.trees is not None:
        columns["seam"] = pool.evidence.trees
    weights = pool.weights / pool.weights.mean()
    kept = list(columns)
    while True:
        values = np.stack([columns[name] for name in kept], axis=1)
        fitted = LogisticRegression(C=1.0, max_iter=1000).fit(values, pool.labels, weights)
        found = dict(zip(kept, (float(weight) for weight in fitted.coef_[0]), strict=True))
        worst = min(found, key=lambda name: found[name])
        if found[worst] >= 0 or len(kept) == 1:
            break
        kept.remove(worst)
    known = {name: max(0.0, found.get(name, 0.0)) for name in (*FUSED_HEADS, "seam")}
    return LogisticWeights(bias=float(fitted.intercept_[0]), **known)


def fewest(pool: Pool) -> int:
    """Number of faces of the rarer class."""
    return min(int((pool.labels == label).sum()) for label in (REAL, FAKE))


def log_loss(
    labels: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Mean negative log likelihood of (n,) labels; scores are clipped to 1e-7 from 0 and 1."""
    held = np.clip(scores, _TINY, 1 - _TINY)
    losses = -np.where(labels == 1, np.log(held), np.log1p(-held))
    return float(np.average(losses, weights=weights))
