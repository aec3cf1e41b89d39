"""Decision specs with round numbers."""

from pipeline.decision.decide import Conformal, DecisionSpec, ScoreLimits
from pipeline.decision.fusion import Fusion
from pipeline.decision.thresholds import Thresholds
from pipeline.runtime.sections import FusionParams

WEIGHTS = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)


def limits_of(
    suspicious: float = 0.5,
    fake: float = 0.8,
    *,
    best_f1: float = 0.5,
    balanced: float = 0.5,
    possible: tuple[float, float] = (0.3, 0.9),
) -> ScoreLimits:
    """Limits of scores.

    suspicious, fake: thresholds of the verdicts. possible: least score of a possible fake, and
    greatest score of a possible real face.
    """
    fake_at_least, real_at_most = possible
    return ScoreLimits(
        thresholds=Thresholds(
            best_f1=best_f1, low_fpr=fake, balanced=balanced, suspicious=suspicious
        ),
        conformal=Conformal(confidence=0.9, real_at_most=real_at_most, fake_at_least=fake_at_least),
    )


def decision_of(
    open_limits: ScoreLimits | None = None,
    tight: ScoreLimits | None = None,
    *,
    temperature: float = 1.0,
    fusion: Fusion = WEIGHTS,
    min_face_px: int = 60,
    min_surroundings_frac: float = 0.02,
    min_detail: float | None = None,
) -> DecisionSpec:
    """A decision spec. tight: limits of faces without surroundings, by default `open_limits`."""
    limits = open_limits or limits_of()
    return DecisionSpec(
        temperature=temperature,
        fusion=fusion,
        open=limits,
        tight=tight or limits,
        min_face_px=min_face_px,
        min_surroundings_frac=min_surroundings_frac,
        min_detail=min_detail,
    )
