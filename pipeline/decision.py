"""The one decision: a face's logits in, a score, a verdict and its reasons out.

The evaluation and the service both call `decide`, so that what is measured is what is served.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from pipeline.fusion import (
    FUSED_HEADS,
    LearnedFusion,
    apply_temperature,
    fuse_crops,
    fuse_heads,
    softmax,
)
from pipeline.labels import QUALITY_NAMES
from pipeline.params import FusionParams, OpenFraction, Section
from pipeline.preprocess import Preprocess
from pipeline.thresholds import VERDICTS, Thresholds, Verdict, verdict

Reason = Literal["face_too_small", "no_surroundings"]
FloatArray64 = NDArray[np.float64]

# The seam lies inside this crop and outside the smaller one (97 % of it, measured on 32 frames).
SEAM_SCALE = 1.5


class DecisionSpec(Section):
    """All numbers between logits and verdict; part of calibration.json and of detector.json.

    min_face_px: longer side of the face box, in pixels of the picture. min_inside_frac: share of
    the 1.5x square that must lie inside the picture.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    fusion: FusionParams | LearnedFusion
    thresholds: Thresholds
    min_face_px: Annotated[int, Field(ge=1)]
    min_inside_frac: OpenFraction = 0.5


@dataclass(frozen=True)
class FaceDecision:
    """score: [0, 1], higher = more fake. heads: mean calibrated probability a head over the crops.
    crop_scores: fused score of each crop. reasons: why the face was left undecided."""

    score: float
    verdict: Verdict
    heads: dict[str, float]
    crop_scores: tuple[float, ...]
    reasons: tuple[Reason, ...] = ()


def decide(
    logits: Mapping[str, ArrayLike],
    spec: DecisionSpec,
    *,
    face_px: float,
    inside_frac: float = 1.0,
) -> FaceDecision:
    """Judge one face.

    logits: real_fake, inswapper, boundary (crops,) and quality (crops, 3); other heads are ignored.
    face_px: longer side of the face box. inside_frac: from `inside_frac`.
    """
    crop_scores = score_crops(logits, spec.temperature, spec.fusion)
    score = float(fuse_crops(crop_scores))
    reasons = abstain_reasons(spec, face_px=face_px, inside_frac=inside_frac)
    return FaceDecision(
        score=score,
        verdict=verdict(score, spec.thresholds, reasons),
        heads=_head_means(logits, spec.temperature),
        crop_scores=tuple(float(value) for value in crop_scores),
        reasons=reasons,
    )


def score_crops(
    logits: Mapping[str, ArrayLike], temperature: float, fusion: FusionParams | LearnedFusion
) -> FloatArray64:
    """Logits of the fused heads, all of one shape -> fused calibrated scores of that shape."""
    real_fake, inswapper, boundary = (
        apply_temperature(logits[name], temperature) for name in FUSED_HEADS
    )
    return fuse_heads(real_fake, inswapper, boundary, fusion)


def abstain_reasons(
    spec: DecisionSpec, *, face_px: float, inside_frac: float
) -> tuple[Reason, ...]:
    """Why nothing should be said about a face, whatever its score."""
    reasons: list[Reason] = []
    if face_px < spec.min_face_px:
        reasons.append("face_too_small")
    if inside_frac < spec.min_inside_frac:
        reasons.append("no_surroundings")
    return tuple(reasons)


def inside_frac(box_xyxy: ArrayLike, height: int, width: int) -> float:
    """Share of the 1.5x square around a box (4,) inside a picture of height x width pixels."""
    left, top, side = Preprocess.square(np.asarray(box_xyxy, dtype=np.float32), SEAM_SCALE)
    inside_x = max(0, min(left + side, width) - max(left, 0))
    inside_y = max(0, min(top + side, height) - max(top, 0))
    return inside_x * inside_y / side**2


def worst_face(faces: Iterable[FaceDecision]) -> FaceDecision:
    """The face a picture is judged by: the most alarming verdict, then the highest score."""
    return max(faces, key=lambda face: (VERDICTS.index(face.verdict), face.score))


def _head_means(logits: Mapping[str, ArrayLike], temperature: float) -> dict[str, float]:
    means = {
        name: float(apply_temperature(logits[name], temperature).mean()) for name in FUSED_HEADS
    }
    quality = softmax(logits["quality"]).mean(axis=0)
    return means | {
        f"quality_{name}": float(p) for name, p in zip(QUALITY_NAMES, quality, strict=True)
    }
