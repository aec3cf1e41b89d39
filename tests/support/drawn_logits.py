"""Logits of faces drawn from a seed, and parameters to calibrate them."""

from typing import Any

import numpy as np

from pipeline.decision.fusion import FUSED_HEADS, SURROUNDINGS, sigmoid
from pipeline.runtime.sections import CalibrateParams, FusionParams
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.copies import AS_IT_IS, Pool, ScoredCopies
from pipeline.training.scoring.scorer import FaceLogits

ONE_HEAD = FusionParams(real_fake=1.0, inswapper=0.0, boundary=0.0)
MIXED = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)
PARAMS = CalibrateParams(
    fusion="fixed",
    low_fpr=0.05,
    suspicious_fpr=0.2,
    sweep_steps=19,
    min_face_px=60,
    min_surroundings_frac=0.25,
    confidence=0.9,
    soft_frac=0.1,
)


def logits_of(*heads: np.ndarray, **single: np.ndarray) -> FaceLogits:
    """Logits (faces, 1) of the three fused heads; single: logits (faces,), such as seam."""
    columns = [np.asarray(head, dtype=np.float32)[:, None] for head in heads]
    found = dict(zip(FUSED_HEADS, columns, strict=True))
    found["quality"] = np.zeros((len(columns[0]), 1, 3), dtype=np.float32)
    return found | {name: np.asarray(values, np.float32) for name, values in single.items()}


def pool_with(labels: np.ndarray, logits: FaceLogits, **parts: Any) -> Pool:
    """A pool of stored faces with surroundings and equal weights."""
    values: dict[str, Any] = {
        "weights": np.ones(len(labels)),
        "surroundings": np.ones(len(labels)),
        "copy": np.full(len(labels), AS_IT_IS),
    }
    return Pool(labels=labels, logits=logits, **{**values, **parts})


def drawn_logits(
    count: int = 4000, overconfidence: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true logits, and the logits of an overconfident network."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, count)
    labels = (rng.random(count) < sigmoid(true)).astype(np.int64)
    return labels, overconfidence * true


def drawn_pool(seed: int = 0, count: int = 4000, **parts: Any) -> Pool:
    labels, logit = drawn_logits(count, 1.0, seed)
    return pool_with(labels, logits_of(logit, logit, logit), **parts)


def faces_of(soft_shift: float = 0.0) -> ScoredCopies:
    labels, logit = drawn_logits(400)
    soft = logit + soft_shift * (labels == 0)
    around = {SURROUNDINGS: np.ones(400)}
    copies = {AS_IT_IS: logits_of(logit, logit, logit, **around)}
    return ScoredCopies(
        labels=labels,
        is_inswapper=labels,
        face_px=np.where(np.arange(400) % 2, 100.0, 200.0),
        sources=np.full(400, "videos"),
        copies=copies | {name: logits_of(soft, soft, soft, **around) for name in DEGRADED_COPIES},
    )
