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

from pipeline.decision import Conformal, DecisionSpec, Limits
from pipeline.errors import ManifestError
from pipeline.fusion import (
    DETAIL,
    FUSED_HEADS,
    SEAM,
    SURROUNDINGS,
    Fusion,
    LearnedFusion,
    LogisticWeights,
    fuse_face,
)
from pipeline.labels import FAKE, REAL
from pipeline.params import CalibrateParams, FusionParams, Section, validation_lines
from pipeline.thresholds import Thresholds, choose_thresholds, lowest_with_fpr, sweep
from pipeline.training.degradations import SOFT_COPIES
from pipeline.training.metrics import binary_metrics, product_metric, rates_at
from pipeline.training.scoring import SEAM_MAP, FaceLogits, Scorer, face_scores
from pipeline.training.store import FaceStore

TEMPERATURE_RANGE = (0.2, 10.0)
AS_IT_IS = "as_it_is"
# Of each class, below which a kind of faces gets no limits of its own.
FEWEST_FACES = 40
_TINY = 1e-7
_GOLDEN = (math.sqrt(5) - 1) / 2


class Calibration(Section):
    """data/calibration.json. decision: in force. other: the same with the other way of fusing."""

    decision: DecisionSpec
    other: DecisionSpec


@dataclass(frozen=True, eq=False)
class ScoredCopies:
    """The faces of a split, and what becomes of them in the wild.

    labels, is_inswapper, face_px: (faces,). sources: (faces,) names. copies: logits of all faces by
    name of the copy, "as_it_is" first.
    """

    labels: NDArray[np.int64]
    is_inswapper: NDArray[np.int64]
    face_px: NDArray[np.float64]
    sources: NDArray[np.str_]
    copies: dict[str, FaceLogits]

    @property
    def logits(self) -> FaceLogits:
        """Of the faces as they are stored."""
        return self.copies[AS_IT_IS]

    @property
    def surroundings(self) -> NDArray[np.float64]:
        """(faces,) share of its surroundings that each face has, as it is stored."""
        return self.logits[SURROUNDINGS].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Pool:
    """All copies together, without those too small to be judged.

    labels, weights, surroundings: (n,); within a class every source weighs the same in total, or
    one large folder of studio photos would set the threshold for all cameras. copy: (n,) names.
    """

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    surroundings: NDArray[np.float64]
    copy: NDArray[np.str_]
    logits: FaceLogits

    def where(self, chosen: NDArray[np.bool_]) -> "Pool":
        """A part of the pool."""
        return Pool(
            self.labels[chosen],
            self.weights[chosen],
            self.surroundings[chosen],
            self.copy[chosen],
            {head: values[chosen] for head, values in self.logits.items()},
        )


def read_calibration(path: Path) -> Calibration:
    """Raises ManifestError naming the file and every wrong key."""
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except OSError:
        raise ManifestError(f"{path}: not found; run calibrate") from None
    except ValidationError as error:
        raise ManifestError("\n".join(validation_lines(path, error))) from None


def score_copies(
    scorer: Scorer, store: FaceStore, faces: NDArray[np.int64] | None = None
) -> ScoredCopies:
    """Score faces as they are stored, and their softened copies. faces: numbers; None for all."""
    chosen = np.arange(len(store.faces)) if faces is None else faces
    numbers, table = chosen.tolist(), store.faces.loc[chosen]
    soft = {
        name: scorer.degraded(store, numbers, copy.degrade) for name, copy in SOFT_COPIES.items()
    }
    return ScoredCopies(
        labels=table["label"].to_numpy(dtype=np.int64),
        is_inswapper=table["is_inswapper"].to_numpy(dtype=np.int64),
        face_px=table["face_px"].to_numpy(dtype=np.float64),
        sources=table["source"].to_numpy(dtype=np.str_),
        copies={AS_IT_IS: scorer.of_faces(store, numbers), **soft},
    )


def pool_of(faces: ScoredCopies, min_face_px: int) -> Pool:
    """Everything that would be judged."""
    names = list(faces.copies)
    factors = [1.0 if name == AS_IT_IS else SOFT_COPIES[name].size_factor for name in names]
    judged = [np.flatnonzero(faces.face_px * factor >= min_face_px) for factor in factors]
    chosen = np.concatenate(judged)
    labels = faces.labels[chosen]
    return Pool(
        labels=labels,
        weights=_source_weights(labels, faces.sources[chosen]),
        surroundings=faces.surroundings[chosen],
        copy=np.repeat(names, [len(kept) for kept in judged]),
        logits={
            head: np.concatenate(
                [faces.copies[name][head][kept] for name, kept in zip(names, judged, strict=True)]
            )
            for head in faces.logits
            if head != SEAM_MAP
        },
    )


def calibrate(faces: ScoredCopies, fusion: FusionParams, params: CalibrateParams) -> Calibration:
    """Fit both ways of fusing; `params.fusion` says which one is in force.

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
    """Thresholds for one way of fusing, apart for faces with and without surroundings.

    Where one of the two kinds has too few faces, the limits are those of all faces.
    """
    is_tight = pool.surroundings < params.min_surroundings_frac
    scores = fuse_face(pool.logits, temperature, fusion)
    everyone = _limits(pool, scores, params)
    open_limits = _limits_of(pool, scores, ~is_tight, everyone, params)
    tight = _limits_of(pool, scores, is_tight, everyone, params)
    return DecisionSpec(
        temperature=temperature,
        fusion=fusion,
        open=open_limits,
        tight=_at_least_as_strict(tight, open_limits),
        min_face_px=params.min_face_px,
        min_surroundings_frac=params.min_surroundings_frac,
        min_detail=_min_detail(pool, params.soft_frac),
    )


def fit_temperature(pool: Pool, fusion: FusionParams) -> float:
    """The temperature with the least negative log likelihood of the fused score, within 0.2 to 10.

    A grid finds the valley (the fused score need not have one only), a golden-section search its
    bottom; both work on the logarithm. No randomness.
    """

    def loss(log_temperature: float) -> float:
        scores = fuse_face(pool.logits, math.exp(log_temperature), fusion)
        return log_loss(pool.labels, scores, pool.weights)

    low, high = (math.log(limit) for limit in TEMPERATURE_RANGE)
    grid = np.linspace(low, high, 41)
    best = int(np.argmin([loss(float(value)) for value in grid]))
    left, right = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    return float(f"{math.exp(golden_section(loss, left, right)):.6g}")


def fit_fusion(pool: Pool, tight_below: float) -> LearnedFusion:
    """Logistic weights, apart for faces with and without surroundings, if there are enough of both.

    Where no seam can be seen, its trees know nothing and the network knows less.
    """
    is_tight = pool.surroundings < tight_below
    parts = [pool.where(chosen) for chosen in (~is_tight, is_tight)]
    if min(_fewest(part) for part in parts) < FEWEST_FACES:
        return LearnedFusion(**fit_weights(pool).model_dump())
    open_weights, tight = (fit_weights(part) for part in parts)
    return LearnedFusion(**open_weights.model_dump(), tight=tight, tight_below=tight_below)


def fit_weights(pool: Pool) -> LogisticWeights:
    """Logistic regression of the label on the heads' mean logits and the seam's, L2 strength 1.

    A part whose weight would be negative is left out: more evidence must never lower a score.
    """
    columns = {head: pool.logits[head].astype(np.float64).mean(axis=1) for head in FUSED_HEADS}
    if SEAM in pool.logits:
        columns[SEAM] = pool.logits[SEAM].astype(np.float64)
    weights = pool.weights / pool.weights.mean()
    kept = list(columns)
    while True:
        values = np.stack([columns[name] for name in kept], axis=1)
        fitted = LogisticRegression(C=1.0, max_iter=1000).fit(values, pool.labels, weights)
        found = dict(zip(kept, (float(weight) for weight in fitted.coef_[0]), strict=True))
        worst = min(found, key=lambda name: found[name])
        if found[worst] >= 0 or len(kept) == 1:
            break
        kept.remove(worst)
    known = {name: max(0.0, found.get(name, 0.0)) for name in (*FUSED_HEADS, SEAM)}
    return LogisticWeights(bias=float(fitted.intercept_[0]), **known)


def weighted_quantile(
    values: NDArray[np.float64], weights: NDArray[np.float64], frac: float
) -> float:
    """The least value up to which at least `frac` of the weight lies."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, frac - 1e-12)), len(values) - 1)])


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


def log_loss(
    labels: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    """Mean negative log likelihood of (n,) labels; scores are held 1e-7 away from 0 and 1."""
    held = np.clip(scores, _TINY, 1 - _TINY)
    losses = -np.where(labels == 1, np.log(held), np.log1p(-held))
    return float(np.average(losses, weights=weights))


def validation_report(
    faces: ScoredCopies, calibration: Calibration, params: CalibrateParams
) -> dict[str, Any]:
    """metrics/val.json: what the fitted numbers reach on the data they were fitted on."""
    decision = calibration.decision
    scores = face_scores(faces.logits, decision)
    limits = decision.thresholds
    reals = faces.labels == REAL
    return {
        "temperature": decision.temperature,
        "weights": decision.fusion.model_dump(),
        "frame": binary_metrics(faces.labels, scores, limits.fake_from),
        "product": product_metric(
            faces.labels,
            scores,
            faces.is_inswapper,
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


def copies_report(pool: Pool, decision: DecisionSpec) -> dict[str, Any]:
    """Each copy and all of them together: metrics, verdicts and what conformal sets keep.

    coverage_real, coverage_fake: share of the class that stays possible, to be compared with
    `promised`; both_possible: share of the faces about which nothing can be ruled out.
    """
    scores = face_scores(pool.logits, decision)
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
    report = {name: found[name] for name in ("n_real", "n_fake", "auc", "brier", "ece")}
    limits = [decision.limits(float(share)) for share in pool.surroundings]
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


def sweep_rows(faces: ScoredCopies, decision: DecisionSpec, steps: int) -> list[dict[str, float]]:
    """plots/threshold_sweep.csv."""
    return sweep(faces.labels, face_scores(faces.logits, decision), steps)


def summary_lines(faces: ScoredCopies, calibration: Calibration) -> list[str]:
    """What was fitted, for a terminal."""
    decision, limits = calibration.decision, calibration.decision.thresholds
    return [
        f"{len(faces.labels)} faces, {fusion_name(decision)} fusion",
        f"temperature {decision.temperature:.3g}",
        f"fake from {limits.fake_from:.4f}, suspicious from {limits.suspicious_from:.4f}",
    ]


def fusion_name(spec: DecisionSpec) -> str:
    return "learned" if isinstance(spec.fusion, LearnedFusion) else "fixed"


def _fusion_report(faces: ScoredCopies, spec: DecisionSpec) -> dict[str, float | None]:
    scores = face_scores(faces.logits, spec)
    found = binary_metrics(faces.labels, scores, spec.thresholds.fake_from)
    kept = {name: found[name] for name in ("auc", "brier", "ece", "fpr", "recall")}
    return kept | {"log_loss": log_loss(faces.labels, scores, np.ones(len(scores)))}


def _limits_of(
    pool: Pool,
    scores: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    otherwise: Limits,
    params: CalibrateParams,
) -> Limits:
    """The limits of a part of the pool, if it has enough faces of both classes."""
    part = pool.where(chosen)
    if _fewest(part) < FEWEST_FACES:
        return otherwise
    return _limits(part, scores[chosen], params)


def _fewest(pool: Pool) -> int:
    """Faces of the rarer class."""
    return min(int((pool.labels == label).sum()) for label in (REAL, FAKE))


def _limits(pool: Pool, scores: NDArray[np.float64], params: CalibrateParams) -> Limits:
    """Operating points from the copies: on clean faces alone half of the softer cameras is flagged.

    best_f1 and balanced are those of the faces as they are stored.
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
    return Limits(thresholds=Thresholds(**points, **limits), conformal=conformal)


def _min_detail(pool: Pool, frac: float) -> float | None:
    """The detail that all but `frac` of the real faces and their copies have around them."""
    if DETAIL not in pool.logits:
        return None
    detail = pool.logits[DETAIL].astype(np.float64)
    known = np.isfinite(detail) & (pool.labels == REAL)
    if not known.any():
        return None
    return weighted_quantile(detail[known], pool.weights[known], frac)


def _at_least_as_strict(tight: Limits, open_limits: Limits) -> Limits:
    """Less evidence must not make a fake of a score that would otherwise pass."""
    low_fpr = max(tight.thresholds.low_fpr, open_limits.thresholds.low_fpr)
    changed = tight.thresholds.model_copy(update={"low_fpr": low_fpr})
    return tight.model_copy(update={"thresholds": changed})


def _source_weights(labels: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """(n,) with mean 1: within a class every source weighs the same in total."""
    _, kind, counts = np.unique(
        [f"{label} {source}" for label, source in zip(labels, sources, strict=True)],
        return_inverse=True,
        return_counts=True,
    )
    weights = 1.0 / counts[kind]
    for label in (REAL, FAKE):
        rows = labels == label
        if rows.any():
            weights[rows] *= rows.sum() / weights[rows].sum()
    return np.asarray(weights, np.float64)
