"""The one decision: a face's logits in, a score, a verdict and its reasons out.

The evaluation and the service both call `decide`, so that what is measured is what is served.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pipeline.core.labels import QUALITY_NAMES
from pipeline.decision.fusion import (
    DETAIL,
    FUSED_HEADS,
    SEAM,
    SURROUNDINGS,
    Finite,
    Fusion,
    apply_temperature,
    fuse_face,
    fuse_views,
    sigmoid,
    softmax,
)
from pipeline.decision.thresholds import VERDICTS, Score, Thresholds, Verdict, verdict
from pipeline.runtime.sections import Fraction, OpenFraction, StrictModel

Reason = Literal["face_too_small", "too_soft", "no_surroundings"]
PossibleLabel = Literal["real", "fake"]


class Conformal(StrictModel):
    """Which labels a score leaves possible, each class promised by itself (Vovk 2012, Mondrian).

    confidence: share of the reals that stay possibly real, and of the fakes that stay possibly
    fake. real_at_most, fake_at_least: the scores up to and from which they do.
    """

    confidence: OpenFraction
    real_at_most: Score
    fake_at_least: Score

    def possible(self, score: float) -> tuple[PossibleLabel, ...]:
        """The labels that cannot be ruled out; one that could not be learned rules out nothing."""
        labels: list[PossibleLabel] = []
        if score <= self.real_at_most:
            labels.append("real")
        if score >= self.fake_at_least:
            labels.append("fake")
        return tuple(labels)


class ScoreLimits(StrictModel):
    """What is read off a score, for faces of one kind."""

    thresholds: Thresholds
    conformal: Conformal


class DecisionSpec(StrictModel):
    """All numbers between logits and verdict; part of calibration.json and of detector.json.

    open: for faces with surroundings. tight: for those that fill the image, whose seam would lie
    outside it. min_face_px: longer side of the face box, in pixels of the image.
    min_surroundings_frac: share of the ring around the paste square below which a face is tight.
    min_detail: detail of the surroundings (pipeline.seam.features.outside_detail) below which the
    image is too soft to tell; null where nothing is known of it.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    fusion: Fusion
    open: ScoreLimits
    tight: ScoreLimits
    min_face_px: Annotated[int, Field(ge=1)]
    min_surroundings_frac: Fraction
    min_detail: Finite | None = None

    @property
    def thresholds(self) -> Thresholds:
        """Those of faces with surroundings."""
        return self.open.thresholds

    def limits(self, surroundings: float) -> ScoreLimits:
        """The limits for a face with that share of surroundings."""
        return self.tight if surroundings < self.min_surroundings_frac else self.open

    def with_fake_from(self, threshold: float) -> "DecisionSpec":
        """The same with an operator's own limit for "fake"; ValueError outside [0, 1]."""
        changed = {
            name: limits.model_copy(
                update={"thresholds": limits.thresholds.with_fake_from(threshold)}
            )
            for name, limits in (("open", self.open), ("tight", self.tight))
        }
        return self.model_copy(update=changed)


@dataclass(frozen=True)
class FaceDecision:
    """score: [0, 1], higher = more fake. heads: mean calibrated probability a head over the views;
    seam: that of the seam's trees, where there are any. view_scores: fused score of each view.
    surroundings: share of the ring around the paste square that the image shows. possible: labels
    that cannot be ruled out. reasons: what limits the judgement; why a face was left undecided."""

    score: float
    verdict: Verdict
    heads: dict[str, float]
    view_scores: tuple[float, ...]
    surroundings: float
    possible: tuple[PossibleLabel, ...]
    reasons: tuple[Reason, ...] = ()


def decide(
    logits: Mapping[str, ArrayLike],
    spec: DecisionSpec,
    *,
    face_px: float,
    surroundings: float = 1.0,
) -> FaceDecision:
    """Judge one face.

    logits: real_fake, inswapper, boundary (views,), quality (views, 3) and perhaps seam () and
    detail (); other heads are ignored. face_px: longer side of the face box. surroundings: from
    `surroundings_of`.
    """
    logits = {**logits, SURROUNDINGS: surroundings}
    score = float(fuse_face(logits, spec.temperature, spec.fusion))
    limits = spec.limits(surroundings)
    reasons: list[Reason] = []
    if face_px < spec.min_face_px:
        reasons.append("face_too_small")
    detail = float(np.asarray(logits.get(DETAIL, np.nan)))
    if spec.min_detail is not None and detail < spec.min_detail:
        reasons.append("too_soft")
    if surroundings < spec.min_surroundings_frac:
        reasons.append("no_surroundings")
    return FaceDecision(
        score=score,
        verdict=_verdict(score, limits, reasons),
        heads=_head_means(logits, spec.temperature),
        view_scores=tuple(map(float, fuse_views(logits, spec.temperature, spec.fusion))),
        surroundings=surroundings,
        possible=limits.conformal.possible(score),
        reasons=tuple(reasons),
    )


def _verdict(score: float, limits: ScoreLimits, reasons: list[Reason]) -> Verdict:
    """Too small or soft a face is never judged; without surroundings a doubt is no suspicion."""
    if "face_too_small" in reasons or "too_soft" in reasons:
        return "undecided"
    found = verdict(score, limits.thresholds)
    return "undecided" if found == "suspicious" and "no_surroundings" in reasons else found


def worst_face(faces: Iterable[FaceDecision]) -> FaceDecision:
    """The face an image is judged by: the most alarming verdict, then the highest score."""
    return max(faces, key=lambda face: (VERDICTS.index(face.verdict), face.score))


def _head_means(logits: Mapping[str, ArrayLike], temperature: float) -> dict[str, float]:
    means = {
        name: float(apply_temperature(logits[name], temperature).mean()) for name in FUSED_HEADS
    }
    quality = softmax(logits["quality"]).mean(axis=0)
    means |= {f"quality_{name}": float(p) for name, p in zip(QUALITY_NAMES, quality, strict=True)}
    return means | ({SEAM: float(sigmoid(logits[SEAM]))} if SEAM in logits else {})
