"""Logits of faces drawn from a seed, and parameters to calibrate them."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import sigmoid
from pipeline.runtime.sections import CalibrateParams, FusionParams
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.copies import AS_IT_IS, Pool, ScoredCopies
from tests.support.face_evidence import evidence_of

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


def evidence_from(*heads: np.ndarray, **members: np.ndarray) -> FaceEvidence:
    """One view per face. heads: (faces,) logits of the three fused heads, or one for all three."""
    columns = [np.asarray(head, dtype=np.float32)[:, None] for head in heads]
    return evidence_of(*columns, **members)


def pool_with(labels: np.ndarray, evidence: FaceEvidence, **parts: Any) -> Pool:
    """Faces as they are stored, with equal weights."""
    values: dict[str, Any] = {
        "weights": np.ones(len(labels)),
        "groups": np.arange(len(labels)).astype(np.str_),
        "copy": np.full(len(labels), AS_IT_IS),
    }
    return Pool(labels=labels, evidence=evidence, **{**values, **parts})


def drawn_logits(
    count: int = 4000, overconfidence: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true logits, and the logits of an overconfident network."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, count)
    labels = (rng.random(count) < sigmoid(true)).astype(np.int64)
    return labels, overconfidence * true


def drawn_pool(seed: int = 0, count: int = 4000, **members: Any) -> Pool:
    labels, logit = drawn_logits(count, 1.0, seed)
    return pool_with(labels, evidence_from(logit, **members))


def face_table(labels: np.ndarray, **columns: Any) -> pd.DataFrame:
    """One row per face: an image of INSwapper's or of a camera, each of another person."""
    names = [f"face{number}" for number in range(len(labels))]
    values = {
        "label": labels,
        "is_inswapper": labels,
        "fake_type": np.where(labels == 1, "inswapper", "real"),
        "face_px": 200.0,
        "source": "videos",
        "video_id": names,
        "frame_index": 0,
        "group": names,
    }
    return pd.DataFrame(values | columns)


def faces_of(soft_shift: float = 0.0) -> ScoredCopies:
    labels, logit = drawn_logits(400)
    soft = logit + soft_shift * (labels == 0)
    return ScoredCopies(
        faces=face_table(labels, face_px=np.where(np.arange(400) % 2, 100.0, 200.0)),
        copies={AS_IT_IS: evidence_from(logit)}
        | {name: evidence_from(soft) for name in DEGRADED_COPIES},
    )
