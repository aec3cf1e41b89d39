"""From logits to one score: temperature, then heads, then views, then frames."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pipeline.core.arrays import FloatArray64
from pipeline.runtime.sections import Fraction, FusionParams, StrictModel

Finite = Annotated[float, Field(allow_inf_nan=False)]
Logits = Mapping[str, ArrayLike]

# The heads that are fused, in the order in which their weights are written everywhere.
FUSED_HEADS = ("real_fake", "inswapper", "boundary")
# The logit of the trees on the seam's numbers (pipeline.seam.features), one a face.
SEAM = "seam"
# Detail of the surroundings that a 128-px face cannot hold (pipeline.seam.features), one a face; no
# evidence by itself, but without it there is none to find.
DETAIL = "detail"
# Share of the ring around the paste square that the image shows, one a face.
SURROUNDINGS = "surroundings"


class LogisticWeights(StrictModel):
    """sigmoid(bias + sum of weight x logit of the head). seam: weight of the seam's trees."""

    bias: Finite
    real_fake: Finite
    inswapper: Finite
    boundary: Finite
    seam: Finite = 0.0


class LearnedFusion(LogisticWeights):
    """Logistic fusion fitted on validation; only this one hears the seam's trees.

    tight: other weights for faces with less than `tight_below` of their surroundings, whose seam
    cannot be seen; None: the same for all.
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


def fuse_views(logits: Logits, temperature: float, fusion: Fusion) -> FloatArray64:
    """Logits of the fused heads (..., views), of the seam (...) -> a score in [0, 1] a view.

    Fixed weights give a weighted mean of the calibrated probabilities; a learned fusion works on
    the logits, and on those of the seam where there are any.
    """
    if isinstance(fusion, FusionParams):
        heads = {name: apply_temperature(logits[name], temperature) for name in FUSED_HEADS}
        # Weights may miss 1 by a rounding error; a score may not leave [0, 1].
        return np.asarray(np.clip(_weighted(heads, fusion), 0.0, 1.0))
    raw = {name: np.asarray(logits[name], np.float64) for name in FUSED_HEADS}
    return _logistic(raw, logits, fusion, views=True)


def fuse_face(logits: Logits, temperature: float, fusion: Fusion) -> FloatArray64:
    """As `fuse_views`, but one score a face, (...): of fixed weights the mean over the views, of a
    learned fusion that of the heads' mean logits."""
    if isinstance(fusion, FusionParams):
        return np.asarray(fuse_views(logits, temperature, fusion).mean(axis=-1))
    means = {name: np.asarray(logits[name], np.float64).mean(axis=-1) for name in FUSED_HEADS}
    return _logistic(means, logits, fusion, views=False)


def _logistic(
    heads: Mapping[str, FloatArray64], logits: Logits, fusion: LearnedFusion, *, views: bool
) -> FloatArray64:
    """heads: (..., views) or (...,), with what each face has once in `logits`."""

    def score(weights: LogisticWeights) -> FloatArray64:
        seam = _of_seam(logits, weights)
        alike = seam[..., None] if views else seam
        return sigmoid(weights.bias + _weighted(heads, weights) + alike)

    if fusion.tight is None:
        return score(fusion)
    lacks_surroundings = np.asarray(logits[SURROUNDINGS], np.float64) < fusion.tight_below
    chosen = lacks_surroundings[..., None] if views else lacks_surroundings
    return np.where(chosen, score(fusion.tight), score(fusion))


def _weighted(
    heads: Mapping[str, FloatArray64], weights: FusionParams | LogisticWeights
) -> FloatArray64:
    return np.asarray(sum(getattr(weights, name) * heads[name] for name in FUSED_HEADS))


def _of_seam(logits: Logits, fusion: LogisticWeights) -> FloatArray64:
    if not fusion.seam:
        return np.zeros(())
    return np.asarray(fusion.seam * np.asarray(logits[SEAM], np.float64))


def fuse_frames(scores: ArrayLike) -> float:
    """(n,) scores of a video's frames, n >= 1 -> their mean."""
    return float(np.mean(np.asarray(scores, dtype=np.float64)))
