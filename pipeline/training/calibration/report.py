"""metrics/val.json and val_report.json: results of the calibration on validation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import FAKE, REAL
from pipeline.decision.decide import DecisionSpec
from pipeline.decision.thresholds import sweep
from pipeline.runtime.sections import CalibrateParams
from pipeline.training.calibration.fit import Calibration, fusion_name
from pipeline.training.calibration.fusion import TEMPERATURE_RANGE, log_loss
from pipeline.training.scoring.copies import Pool, ScoredCopies, pool_of
from pipeline.training.scoring.headline import counts_line, few_people, headline_measures
from pipeline.training.scoring.metrics import (
    binary_metrics,
    class_counts,
    product_metric,
    rates_at,
)
from pipeline.training.scoring.scorer import decided, face_scores

# Relative distance from a bound of the temperature within which the fit was stopped by it.
NEAR_BOUND = 1e-3


def validation_report(
    faces: ScoredCopies, calibration: Calibration, params: CalibrateParams
) -> dict[str, Any]:
    """metrics/val_report.json: results on the same data that the calibration was fitted on."""
    decision = calibration.decision
    scores = face_scores(faces.stored, decision)
    limits = decision.thresholds
    reals = faces.labels == REAL
    counts = class_counts(faces.labels, faces.faces["group"])
    return {
        "temperature": decision.temperature,
        "weights": decision.fusion.model_dump(),
        "warnings": [
            *few_people({"validation": counts}),
            *temperature_warnings(calibration),
        ],
        "headline": _headline(faces, decision),
        "frame": binary_metrics(faces.labels, scores, limits.fake_from) | counts,
        "product": product_metric(
            faces.labels,
            scores,
            faces.faces["is_inswapper"],
            face_scores(faces.copies["jpeg40"], decision)[reals],
            limits.balanced,
        ),
        "copies": copies_report(pool_of(faces, params.min_face_px), decision),
        "thresholds": {kind: getattr(decision, kind).model_dump() for kind in ("open", "tight")},
        "rates": {
            name: {"value": value, **rates_at(faces.labels, scores, value)}
            for name, value in limits.model_dump().items()
        },
        "fusion": {
            fusion_name(spec): _fusion_report(faces, spec)
            for spec in (calibration.decision, calibration.other)
        },
    }


def val_summary(report: dict[str, Any], decision: DecisionSpec, val_set: str) -> dict[str, Any]:
    """metrics/val.json: the main numbers of `validation_report`, and the fitted values.

    val_set: digest of the split's faces (`reader.set_digest`).
    """
    numbers = {name: value for name, value in report["headline"].items() if name != "reason"}
    return {
        **numbers,
        "product": report["product"],
        "temperature": decision.temperature,
        "fake_from": decision.thresholds.fake_from,
        "val_set": val_set,
    }


def _headline(faces: ScoredCopies, decision: DecisionSpec) -> dict[str, Any]:
    """The headline's numbers; without intervals, which promise more than fitted data can keep."""
    table = decided(faces.faces, faces.stored, decision)
    report: dict[str, Any] = dict(class_counts(table["label"], table["group"]))
    reasons = []
    for name, measure in headline_measures(table, decision.thresholds.fake_from).items():
        try:
            report[name] = measure.value()
        except ValueError as error:
            report[name] = None
            reasons.append(f"{name}: {error}")
    return report | {"reason": "; ".join(reasons)} if reasons else report


def temperature_warnings(calibration: Calibration) -> list[str]:
    """A line for a fitted temperature at a bound of its range, where the fit ended by force."""
    found = []
    for spec in (calibration.decision, calibration.other):
        if min(abs(spec.temperature / bound - 1) for bound in TEMPERATURE_RANGE) < NEAR_BOUND:
            low, high = TEMPERATURE_RANGE
            found.append(
                f"temperature {spec.temperature:.3g} of the {fusion_name(spec)} fusion is at the "
                f"bound of its range ({low:g} to {high:g}): its scores are not calibrated"
            )
    return found


def copies_report(pool: Pool, decision: DecisionSpec) -> dict[str, Any]:
    """Metrics, verdicts and coverage of the conformal sets, per copy and for all together.

    coverage_real, coverage_fake: fraction of the class that stays possible, to be compared with
    `promised`. both_possible: fraction of the faces for which no label can be ruled out.
    """
    scores = face_scores(pool.evidence, decision)
    names = list(dict.fromkeys(pool.copy.tolist()))
    chosen = {name: pool.copy == name for name in names} | {"all": np.ones(len(scores), bool)}
    report: dict[str, Any] = {"promised": decision.open.conformal.confidence}
    for name, rows in chosen.items():
        report[name] = _copy_report(pool.where(rows), scores[rows], decision)
    return report


def _copy_report(
    pool: Pool, scores: NDArray[np.float64], decision: DecisionSpec
) -> dict[str, float | None]:
    found = binary_metrics(pool.labels, scores, decision.thresholds.fake_from)
    report = {name: found[name] for name in ("auc", "brier", "ece")}
    report |= class_counts(pool.labels, pool.groups)
    limits = [decision.limits(float(share)) for share in pool.evidence.surroundings]
    called = np.array(
        [score >= x.thresholds.fake_from for score, x in zip(scores, limits, strict=True)]
    )
    sets = [x.conformal.possible(float(s)) for s, x in zip(scores, limits, strict=True)]
    both = np.array([len(labels) == 2 for labels in sets])
    for name, label in (("real", REAL), ("fake", FAKE)):
        rows = pool.labels == label
        kept = np.array([name in labels for labels in sets])
        weights = pool.weights[rows]
        known = len(weights) > 0
        report[f"coverage_{name}"] = (
            float(np.average(kept[rows], weights=weights)) if known else None
        )
        rate = float(np.average(called[rows], weights=weights)) if known else None
        report["fpr" if label == REAL else "recall"] = rate
    report["both_possible"] = float(both.mean())
    return report


def _fusion_report(faces: ScoredCopies, spec: DecisionSpec) -> dict[str, float | None]:
    scores = face_scores(faces.stored, spec)
    found = binary_metrics(faces.labels, scores, spec.thresholds.fake_from)
    kept = {name: found[name] for name in ("auc", "brier", "ece", "fpr", "recall")}
    return kept | {"log_loss": log_loss(faces.labels, scores, np.ones(len(scores)))}


def sweep_rows(faces: ScoredCopies, decision: DecisionSpec, steps: int) -> list[dict[str, float]]:
    """Rows of the threshold sweep on validation."""
    return sweep(faces.labels, face_scores(faces.stored, decision), steps)


def summary_lines(faces: ScoredCopies, calibration: Calibration) -> list[str]:
    """Lines for a terminal about the fitted values."""
    decision, limits = calibration.decision, calibration.decision.thresholds
    found = class_counts(faces.labels, faces.faces["group"])
    return [
        f"{counts_line(found)}, {fusion_name(decision)} fusion",
        f"temperature {decision.temperature:.3g}",
        f"fake from {limits.fake_from:.4f}, suspicious from {limits.suspicious_from:.4f}",
    ]
