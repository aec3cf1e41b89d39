"""The decision about one face: evidence in; score, verdict and reasons out.

Calibration, evaluation, ablation and the service all call it, so what is measured is served.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from pipeline.core.labels import QUALITY_NAMES
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import (
    FUSED_HEADS,
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
    """The labels that a score leaves possible, calibrated per class (Vovk 2012, Mondrian).

    confidence: fraction of the reals that stay possibly real, and of the fakes that stay possibly
    fake. real_at_most: highest score that may be a real face's; fake_at_least: lowest score that
    may be a fake's.
    """

    confidence: OpenFraction
    real_at_most: Score
    fake_at_least: Score

    def possible(self, score: float) -> tuple[PossibleLabel, ...]:
        """The labels that cannot be ruled out."""
        labels: list[PossibleLabel] = []
        if score <= self.real_at_most:
            labels.append("real")
        if score >= self.fake_at_least:
            labels.append("fake")
        return tuple(labels)


class ScoreLimits(StrictModel):
    """The limits for scores of faces of one kind."""

    thresholds: Thresholds
    conformal: Conformal


class DecisionSpec(StrictModel):
    """All numbers between logits and verdict; part of calibration.json and of detector.json.

    open: limits for faces with surroundings. tight: limits for faces without, which fill the image
    so that their seam would be outside it. min_face_px: least longer side of the face box, in
    pixels of the image. min_surroundings_frac: least visible fraction of the ring around the paste
    square for a face with surroundings. min_detail: least detail of the surroundings
    (pipeline.seam.features.outside_detail); below it the image is too soft. null if unknown.
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
        """Thresholds for faces with surroundings."""
        return self.open.thresholds

    def limits(self, surroundings: float) -> ScoreLimits:
        """Limits for a face of which this fraction of the surroundings is visible."""
        return self.tight if surroundings < self.min_surroundings_frac else self.open

    def with_fake_from(self, threshold: float) -> "DecisionSpec":
        """A copy with the operator's own limit for "fake". Raises ValueError outside [0, 1]."""
        changed = {
            name: limits.model_copy(
                update={"thresholds": limits.thresholds.with_fake_from(threshold)}
            )
            for name, limits in (("open", self.open), ("tight", self.tight))
        }
        return self.model_copy(update=changed)


@dataclass(frozen=True)
class FaceDecision:
    """score: in [0, 1], higher = more fake. heads: mean calibrated probability per head over the
    views, and "seam" from the seam trees. view_scores: fused score per view. surroundings: visible
    fraction of the ring around the paste square. possible: labels that cannot be ruled out.
    reasons: what limits the decision, such as why a face stayed undecided."""

    score: float
    verdict: Verdict
    heads: dict[str, float]
    view_scores: tuple[float, ...]
    surroundings: float
    possible: tuple[PossibleLabel, ...]
    reasons: tuple[Reason, ...] = ()


def decide(evidence: FaceEvidence, spec: DecisionSpec, *, face_px: float) -> FaceDecision:
    """Score one face and give it a verdict.

    evidence: of one face. face_px: longer side of the face box, in pixels of the image.
    """
    score = float(fuse_face(evidence, spec.temperature, spec.fusion))
    surroundings = float(evidence.surroundings)
    limits = spec.limits(surroundings)
    reasons: list[Reason] = []
    if face_px < spec.min_face_px:
        reasons.append("face_too_small")
    if _is_too_soft(evidence, spec.min_detail):
        reasons.append("too_soft")
    if surroundings < spec.min_surroundings_frac:
        reasons.append("no_surroundings")
    return FaceDecision(
        score=score,
        verdict=_verdict(score, limits, reasons),
        heads=_head_means(evidence, spec.temperature),
        view_scores=tuple(map(float, fuse_views(evidence, spec.temperature, spec.fusion))),
        surroundings=surroundings,
        possible=limits.conformal.possible(score),
        reasons=tuple(reasons),
    )


def _is_too_soft(evidence: FaceEvidence, min_detail: float | None) -> bool:
    """False where the detail or its limit is unknown."""
    if min_detail is None or evidence.detail is None:
        return False
    return bool(evidence.detail < min_detail)


def _verdict(score: float, limits: ScoreLimits, reasons: list[Reason]) -> Verdict:
    """Small or blurry faces stay undecided; so do suspicious ones without surroundings."""
    if "face_too_small" in reasons or "too_soft" in reasons:
        return "undecided"
    found = verdict(score, limits.thresholds)
    return "undecided" if found == "suspicious" and "no_surroundings" in reasons else found


def worst_face(faces: Iterable[FaceDecision]) -> FaceDecision:
    """The face that decides for an image: most alarming verdict first, then highest score."""
    return max(faces, key=lambda face: (VERDICTS.index(face.verdict), face.score))


def _head_means(evidence: FaceEvidence, temperature: float) -> dict[str, float]:
    """Mean calibrated probability per head over the views; "seam" is that of the seam trees."""
    means = {
        name: float(apply_temperature(getattr(evidence, name), temperature).mean())
        for name in FUSED_HEADS
    }
    quality = softmax(evidence.quality).mean(axis=0)
    means |= {f"quality_{name}": float(p) for name, p in zip(QUALITY_NAMES, quality, strict=True)}
    return means if evidence.trees is None else means | {"seam": float(sigmoid(evidence.trees))}
