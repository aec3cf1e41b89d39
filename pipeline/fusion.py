"""From logits to one score: temperature, then heads, then crops, then frames."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.params import FusionParams, Section

FloatArray64 = NDArray[np.float64]

# The heads that are fused, in the order in which their weights are written everywhere.
FUSED_HEADS = ("real_fake", "inswapper", "boundary")
_TINY = 1e-7


class LearnedFusion(Section):
    """Logistic fusion fitted on validation: sigmoid(bias + sum of weight x logit of the head)."""

    bias: float
    real_fake: float
    inswapper: float
    boundary: float


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


def to_logit(probability: ArrayLike) -> FloatArray64:
    """Inverse of `sigmoid`; probabilities are held 1e-7 away from 0 and 1."""
    held = np.clip(np.asarray(probability, dtype=np.float64), _TINY, 1 - _TINY)
    return np.asarray(np.log(held) - np.log1p(-held))


def apply_temperature(logit: ArrayLike, temperature: float) -> FloatArray64:
    """Any shape of logits -> calibrated probabilities sigmoid(logit / temperature).

    Raises ValueError unless temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return sigmoid(np.asarray(logit, dtype=np.float64) / temperature)


def fuse_heads(
    p_real_fake: ArrayLike,
    p_inswapper: ArrayLike,
    p_boundary: ArrayLike,
    fusion: FusionParams | LearnedFusion,
) -> FloatArray64:
    """Three probabilities of the same shape -> one score of that shape, in [0, 1].

    Fixed weights give a weighted mean of the probabilities; a learned fusion works on their logits.
    """
    heads = [np.asarray(p, dtype=np.float64) for p in (p_real_fake, p_inswapper, p_boundary)]
    weights = [getattr(fusion, name) for name in FUSED_HEADS]
    if isinstance(fusion, LearnedFusion):
        heads = [to_logit(p) for p in heads]
        return sigmoid(fusion.bias + sum(w * p for w, p in zip(weights, heads, strict=True)))
    # Weights may miss 1 by a rounding error; a score may not leave [0, 1].
    mean = np.asarray(sum(w * p for w, p in zip(weights, heads, strict=True)))
    return np.asarray(np.clip(mean, 0.0, 1.0))


def fuse_crops(scores: ArrayLike) -> FloatArray64:
    """(..., crops) -> (...): the mean over the crops of a face."""
    return np.asarray(np.asarray(scores, dtype=np.float64).mean(axis=-1))


def fuse_frames(scores: ArrayLike) -> float:
    """(n,) scores of a video's frames, n >= 1 -> their mean."""
    return float(np.mean(np.asarray(scores, dtype=np.float64)))
