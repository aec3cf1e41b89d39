"""Everything that is fitted on validation after training: temperature, fusion, thresholds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from torch import nn

from pipeline.decision import DecisionSpec, score_crops
from pipeline.errors import ManifestError
from pipeline.fusion import FUSED_HEADS, LearnedFusion, fuse_crops
from pipeline.labels import REAL
from pipeline.params import CalibrateParams, FusionParams, Section, validation_lines
from pipeline.preprocess import Preprocess
from pipeline.thresholds import choose_thresholds, sweep
from pipeline.training.degradations import SOFT_COPIES
from pipeline.training.metrics import binary_metrics, product_metric, rates_at
from pipeline.training.scoring import FaceLogits, degraded_logits, face_scores, stored_logits
from pipeline.training.store import FaceStore

TEMPERATURE_RANGE = (0.2, 10.0)
_TINY = 1e-7
_GOLDEN = (math.sqrt(5) - 1) / 2

Fusion = FusionParams | LearnedFusion


class Calibration(Section):
    """data/calibration.json. decision: in force. other: the same with the other way of fusing."""

    decision: DecisionSpec
    other: DecisionSpec


@dataclass(frozen=True, eq=False)
class ValidationFaces:
    """What calibration looks at.

    labels, is_inswapper, face_px: (faces,). logits: of the stored crops. soft: logits of the
    softened copies of the real faces, in the order of the reals, by name of the copy.
    """

    labels: NDArray[np.int64]
    is_inswapper: NDArray[np.int64]
    face_px: NDArray[np.float64]
    logits: FaceLogits
    soft: dict[str, FaceLogits]


def read_calibration(path: Path) -> Calibration:
    """Raises ManifestError naming the file and every wrong key."""
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError:
        raise ManifestError(f"{path}: not found; run calibrate") from None
    except ValidationError as error:
        raise ManifestError("\n".join(validation_lines(path, error))) from None


def score_validation(model: nn.Module, store: FaceStore, preprocess: Preprocess) -> ValidationFaces:
    """Run the network over a split and over the softened copies of its real faces."""
    labels = store.faces["label"].to_numpy(dtype=np.int64)
    reals = np.flatnonzero(labels == REAL)
    return ValidationFaces(
        labels=labels,
        is_inswapper=store.faces["is_inswapper"].to_numpy(dtype=np.int64),
        face_px=store.faces["face_px"].to_numpy(dtype=np.float64),
        logits=stored_logits(model, store, preprocess),
        soft={
            name: degraded_logits(model, store, reals.tolist(), copy.degrade, preprocess)
            for name, copy in SOFT_COPIES.items()
        },
    )


def calibrate(faces: ValidationFaces, fusion: FusionParams, params: CalibrateParams) -> Calibration:
    """Fit both ways of fusing; `params.fusion` says which one is in force.

    Raises ValueError when a class is absent.
    """
    fixed = fit_decision(faces, fusion, fit_temperature(faces.labels, faces.logits, fusion), params)
    learned_fusion = fit_fusion(faces.labels, faces.logits)
    learned = fit_decision(faces, learned_fusion, 1.0, params)
    if params.fusion == "fixed":
        return Calibration(decision=fixed, other=learned)
    return Calibration(decision=learned, other=fixed)


def fit_decision(
    faces: ValidationFaces, fusion: Fusion, temperature: float, params: CalibrateParams
) -> DecisionSpec:
    """Thresholds for one way of fusing."""
    scores = fused(faces.logits, fusion, temperature)
    soft = np.concatenate(
        [
            fused(logits, fusion, temperature)[_large_enough(faces, name, params.min_face_px)]
            for name, logits in faces.soft.items()
        ]
    )
    return DecisionSpec(
        temperature=temperature,
        fusion=fusion,
        thresholds=choose_thresholds(faces.labels, scores, params.low_fpr, soft),
        min_face_px=params.min_face_px,
        min_inside_frac=params.min_inside_frac,
    )


def fused(logits: FaceLogits, fusion: Fusion, temperature: float) -> NDArray[np.float64]:
    """(faces, crops) logits -> (faces,) scores, as `pipeline.decision.decide` computes them."""
    return fuse_crops(score_crops(logits, temperature, fusion))


def fit_temperature(labels: NDArray[np.int64], logits: FaceLogits, fusion: FusionParams) -> float:
    """The temperature with the least negative log likelihood of the fused score, within 0.2 to 10.

    A grid finds the valley (the fused score need not have one only), a golden-section search its
    bottom; both work on the logarithm. No randomness.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(labels, fused(logits, fusion, math.exp(log_temperature)))

    low, high = (math.log(limit) for limit in TEMPERATURE_RANGE)
    grid = np.linspace(low, high, 41)
    best = int(np.argmin([loss(float(value)) for value in grid]))
    left, right = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    return float(f"{math.exp(golden_section(loss, left, right)):.6g}")


def fit_fusion(labels: NDArray[np.int64], logits: FaceLogits) -> LearnedFusion:
    """Logistic regression of the label on the heads' logits, crop by crop, with L2 strength 1.

    A head whose weight would be negative is left out: more evidence must never lower a score.
    """
    crops = np.stack([logits[head].ravel() for head in FUSED_HEADS], axis=1).astype(np.float64)
    truth = np.repeat(labels, logits[FUSED_HEADS[0]].shape[1])
    kept = list(range(len(FUSED_HEADS)))
    while True:
        fitted = LogisticRegression(C=1.0, max_iter=1000).fit(crops[:, kept], truth)
        weights = dict(zip(kept, (float(w) for w in fitted.coef_[0]), strict=True))
        worst = min(weights, key=lambda head: weights[head])
        if weights[worst] >= 0 or len(kept) == 1:
            break
        kept.remove(worst)
    found = {name: max(0.0, weights.get(head, 0.0)) for head, name in enumerate(FUSED_HEADS)}
    return LearnedFusion(bias=float(fitted.intercept_[0]), **found)


def golden_section(
    function: Callable[[float], float], left: float, right: float, tolerance: float = 1e-5
) -> float:
    """Where a function with one valley between `left` and `right` is lowest, to `tolerance`."""
    inner_left = right - _GOLDEN * (right - left)
    inner_right = left + _GOLDEN * (right - left)
    at_left, at_right = function(inner_left), function(inner_right)
    while right - left > tolerance:
        if at_left <= at_right:
            right, inner_right, at_right = inner_right, inner_left, at_left
            inner_left = right - _GOLDEN * (right - left)
            at_left = function(inner_left)
        else:
            left, inner_left, at_left = inner_left, inner_right, at_right
            inner_right = left + _GOLDEN * (right - left)
            at_right = function(inner_right)
    return (left + right) / 2


def log_loss(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Mean negative log likelihood of (n,) labels; scores are held 1e-7 away from 0 and 1."""
    held = np.clip(scores, _TINY, 1 - _TINY)
    return float(-np.mean(np.where(labels == 1, np.log(held), np.log1p(-held))))


def validation_report(
    faces: ValidationFaces, calibration: Calibration, params: CalibrateParams
) -> dict[str, Any]:
    """metrics/val.json: what the fitted numbers reach on the data they were fitted on."""
    decision = calibration.decision
    scores = face_scores(faces.logits, decision)
    limits = decision.thresholds
    return {
        "temperature": decision.temperature,
        "frame": binary_metrics(faces.labels, scores, limits.fake_from),
        "product": product_metric(
            faces.labels,
            scores,
            faces.is_inswapper,
            face_scores(faces.soft["jpeg40"], decision),
            limits.balanced,
        ),
        "soft_real_fpr": {
            name: _soft_fpr(faces, name, decision, params) for name in sorted(faces.soft)
        },
        "thresholds": {
            name: {"value": value, **rates_at(faces.labels, scores, value)}
            for name, value in limits.model_dump().items()
        },
        "fusion": {
            fusion_name(spec): _fusion_report(faces, spec)
            for spec in (calibration.decision, calibration.other)
        },
    }


def sweep_rows(
    faces: ValidationFaces, decision: DecisionSpec, steps: int
) -> list[dict[str, float]]:
    """plots/threshold_sweep.csv."""
    return sweep(faces.labels, face_scores(faces.logits, decision), steps)


def summary_lines(faces: ValidationFaces, calibration: Calibration) -> list[str]:
    """What was fitted, for a terminal."""
    decision, limits = calibration.decision, calibration.decision.thresholds
    return [
        f"{len(faces.labels)} faces, {fusion_name(decision)} fusion",
        f"temperature {decision.temperature:.3g}",
        f"fake from {limits.fake_from:.4f}, suspicious from {limits.suspicious_from:.4f}",
    ]


def fusion_name(spec: DecisionSpec) -> str:
    return "learned" if isinstance(spec.fusion, LearnedFusion) else "fixed"


def _fusion_report(faces: ValidationFaces, spec: DecisionSpec) -> dict[str, float | None]:
    scores = face_scores(faces.logits, spec)
    found = binary_metrics(faces.labels, scores, spec.thresholds.fake_from)
    kept = {name: found[name] for name in ("auc", "brier", "ece", "fpr", "recall")}
    return kept | {"log_loss": log_loss(faces.labels, scores)}


def _soft_fpr(
    faces: ValidationFaces, name: str, decision: DecisionSpec, params: CalibrateParams
) -> float | None:
    scores = face_scores(faces.soft[name], decision)
    judged = scores[_large_enough(faces, name, params.min_face_px)]
    return float((judged >= decision.thresholds.fake_from).mean()) if len(judged) else None


def _large_enough(faces: ValidationFaces, name: str, min_face_px: int) -> NDArray[np.bool_]:
    """(reals,): copies that are judged at all; smaller faces are left undecided."""
    face_px = faces.face_px[faces.labels == REAL] * SOFT_COPIES[name].size_factor
    return np.asarray(face_px >= min_face_px)
