"""From a face's logits to one score: temperature, then heads, then views; then a video's frames."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pipeline.core.arrays import FloatArray64
from pipeline.decision.evidence import FaceEvidence
from pipeline.runtime.sections import Fraction, FusionParams, StrictModel

Finite = Annotated[float, Field(allow_inf_nan=False)]

# The fused heads, in the order in which their weights are written everywhere.
FUSED_HEADS = ("real_fake", "inswapper", "boundary")


class LogisticWeights(StrictModel):
    """sigmoid(bias + sum of weight x logit of the head + seam x logit of the seam trees)."""

    bias: Finite
    real_fake: Finite
    inswapper: Finite
    boundary: Finite
    seam: Finite = 0.0


class LearnedFusion(LogisticWeights):
    """Logistic fusion fitted on validation; the fixed weights ignore the seam trees.

    tight: other weights for faces with less than `tight_below` of their surroundings, whose seam
    cannot be seen; None for one set of weights for all faces.
    """

    tight: LogisticWeights | None = None
    tight_below: Fraction = 0.0


Fusion = FusionParams | LearnedFusion


def sigmoid(logit: ArrayLike) -> FloatArray64:
    """Any shape -> probabilities in [0, 1], without overflow."""
    values = np.asarray(logit, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def softmax(logits: ArrayLike) -> FloatArray64:
    """(..., classes) -> probabilities that sum to 1 along the last axis."""
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def apply_temperature(logit: ArrayLike, temperature: float) -> FloatArray64:
    """Any shape of logits -> calibrated probabilities sigmoid(logit / temperature).

    Raises ValueError unless temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return sigmoid(np.asarray(logit, dtype=np.float64) / temperature)


def fuse_views(evidence: FaceEvidence, temperature: float, fusion: Fusion) -> FloatArray64:
    """One score in [0, 1] per view: (n, views), or (views,) for one face.

    Fixed weights give a weighted mean of the calibrated probabilities. A learned fusion works on
    the logits, including that of the seam trees.
    """
    if isinstance(fusion, FusionParams):
        heads = {n: apply_temperature(getattr(evidence, n), temperature) for n in FUSED_HEADS}
        # Weights may miss 1 by a rounding error; a score may not leave [0, 1].
        return np.asarray(np.clip(_weighted(heads, fusion), 0.0, 1.0))
    logits = {name: np.asarray(getattr(evidence, name), np.float64) for name in FUSED_HEADS}
    return _logistic(logits, evidence, fusion, per_view=True)


def fuse_face(evidence: FaceEvidence, temperature: float, fusion: Fusion) -> FloatArray64:
    """One score in [0, 1] per face: (n,), or () for one face.

    Fixed weights: mean of the views' scores. A learned fusion: the score of the views' mean logits.
    """
    if isinstance(fusion, FusionParams):
        return np.asarray(fuse_views(evidence, temperature, fusion).mean(axis=-1))
    return _logistic(mean_logits(evidence), evidence, fusion, per_view=False)


def mean_logits(evidence: FaceEvidence) -> dict[str, FloatArray64]:
    """Logits of the fused heads, averaged over the views: (n,) each."""
    return {n: np.asarray(getattr(evidence, n), np.float64).mean(axis=-1) for n in FUSED_HEADS}


def _logistic(
    heads: Mapping[str, FloatArray64],
    evidence: FaceEvidence,
    fusion: LearnedFusion,
    *,
    per_view: bool,
) -> FloatArray64:
    """heads: (n, views) or (n,); the members that a face has once are repeated for every view."""

    def over_views(values: ArrayLike) -> FloatArray64:
        array = np.asarray(values)
        return array[..., None] if per_view else array

    def score(weights: LogisticWeights) -> FloatArray64:
        logit = weights.bias + _weighted(heads, weights)
        if weights.seam:
            if evidence.trees is None:
                raise ValueError("the fusion uses the seam trees, but this evidence has none")
            logit = logit + weights.seam * over_views(evidence.trees)
        return sigmoid(logit)

    if fusion.tight is None:
        return score(fusion)
    lacks_surroundings = over_views(evidence.surroundings) < fusion.tight_below
    return np.where(lacks_surroundings, score(fusion.tight), score(fusion))


def _weighted(
    heads: Mapping[str, FloatArray64], weights: FusionParams | LogisticWeights
) -> FloatArray64:
    return np.asarray(sum(getattr(weights, name) * heads[name] for name in FUSED_HEADS))


def fuse_frames(scores: ArrayLike) -> float:
    """(n,) scores of a video's frames, n >= 1 -> their mean."""
    return float(np.mean(np.asarray(scores, dtype=np.float64)))
