"""Everything that is fitted on validation after training: fusion, temperature, thresholds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.core.labels import REAL
from pipeline.decision.decide import Conformal, DecisionSpec, ScoreLimits
from pipeline.decision.fusion import Fusion, LearnedFusion, fuse_face
from pipeline.decision.thresholds import Thresholds, choose_thresholds, lowest_with_fpr
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import CalibrateParams, FusionParams, StrictModel
from pipeline.training.calibration.fusion import FEWEST_FACES, fewest, fit_fusion, fit_temperature
from pipeline.training.scoring.copies import AS_IT_IS, Pool, ScoredCopies, pool_of


class Calibration(StrictModel):
    """data/calibration.json. decision: the active one. other: the same with the other fusion."""

    decision: DecisionSpec
    other: DecisionSpec


def read_calibration(path: Path) -> Calibration:
    """Raises ManifestError naming the file and every wrong key."""
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError:
        raise ManifestError(f"{path}: not found; run calibrate") from None
    except ValidationError as error:
        raise ManifestError("\n".join(validation_lines(path, error))) from None


def fusion_name(spec: DecisionSpec) -> str:
    return "learned" if isinstance(spec.fusion, LearnedFusion) else "fixed"


def calibrate(faces: ScoredCopies, fusion: FusionParams, params: CalibrateParams) -> Calibration:
    """Fit both fusions; `params.fusion` chooses the active one.

    Raises ValueError when a class is absent.
    """
    pool = pool_of(faces, params.min_face_px)
    fixed = fit_decision(pool, fusion, fit_temperature(pool, fusion), params)
    learned = fit_decision(pool, fit_fusion(pool, params.min_surroundings_frac), 1.0, params)
    if params.fusion == "fixed":
        return Calibration(decision=fixed, other=learned)
    return Calibration(decision=learned, other=fixed)


def fit_decision(
    pool: Pool, fusion: Fusion, temperature: float, params: CalibrateParams
) -> DecisionSpec:
    """Thresholds for one fusion, separately for faces with and without surroundings.

    A kind with too few faces gets the limits of all faces.
    """
    lacks_surroundings = pool.evidence.surroundings < params.min_surroundings_frac
    scores = fuse_face(pool.evidence, temperature, fusion)
    everyone = _limits(pool, scores, params)
    open_limits = _limits_of(pool, scores, ~lacks_surroundings, everyone, params)
    tight = _limits_of(pool, scores, lacks_surroundings, everyone, params)
    return DecisionSpec(
        temperature=temperature,
        fusion=fusion,
        open=open_limits,
        tight=_at_least_as_strict(tight, open_limits),
        min_face_px=params.min_face_px,
        min_surroundings_frac=params.min_surroundings_frac,
        min_detail=_min_detail(pool, params.soft_frac),
    )


def _limits_of(
    pool: Pool,
    scores: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    otherwise: ScoreLimits,
    params: CalibrateParams,
) -> ScoreLimits:
    """Limits of a part of the pool, or `otherwise` if it has too few faces of a class."""
    part = pool.where(chosen)
    if fewest(part) < FEWEST_FACES:
        return otherwise
    return _limits(part, scores[chosen], params)


def _limits(pool: Pool, scores: NDArray[np.float64], params: CalibrateParams) -> ScoreLimits:
    """Operating points from the degraded copies.

    With limits from clean faces alone, half of the images of softer cameras were flagged. best_f1
    and balanced come from the faces as they are stored.
    """
    stored = pool.copy == AS_IT_IS
    if len(np.unique(pool.labels[stored])) < 2:
        stored = np.ones(len(scores), bool)
    reals = pool.labels == REAL
    tail = (scores[reals], pool.weights[reals])
    points = choose_thresholds(pool.labels[stored], scores[stored])
    conformal = Conformal(
        confidence=params.confidence,
        real_at_most=weighted_quantile(*tail, params.confidence),
        fake_at_least=weighted_quantile(
            scores[~reals], pool.weights[~reals], 1 - params.confidence
        ),
    )
    limits = {
        name: lowest_with_fpr(*tail, frac)
        for name, frac in (("low_fpr", params.low_fpr), ("suspicious", params.suspicious_fpr))
    }
    return ScoreLimits(thresholds=Thresholds(**points, **limits), conformal=conformal)


def weighted_quantile(
    values: NDArray[np.float64], weights: NDArray[np.float64], frac: float
) -> float:
    """The least value with at least `frac` of the weight at or below it."""
    return float(np.quantile(values, frac, weights=weights, method="inverted_cdf"))


def _min_detail(pool: Pool, frac: float) -> float | None:
    """The detail of the surroundings that all but `frac` of the real faces and copies reach."""
    detail = pool.evidence.detail
    if detail is None:
        return None
    known = np.isfinite(detail) & (pool.labels == REAL)
    if not known.any():
        return None
    return weighted_quantile(detail[known], pool.weights[known], frac)


def _at_least_as_strict(tight: ScoreLimits, open_limits: ScoreLimits) -> ScoreLimits:
    """Make the limit for "fake" without surroundings at least as strict as with them."""
    low_fpr = max(tight.thresholds.low_fpr, open_limits.thresholds.low_fpr)
    changed = tight.thresholds.model_copy(update={"low_fpr": low_fpr})
    return tight.model_copy(update={"thresholds": changed})
