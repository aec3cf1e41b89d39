"""Metrics of a set of scores, and bootstrap intervals over groups.

A metric that is undefined because a class is absent is None, never a made-up number.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_curve

from pipeline.core.arrays import FloatArray64
from pipeline.core.labels import FAKE, REAL
from pipeline.decision.thresholds import choose_thresholds

MetricValues = dict[str, float | None]
# Of one or more columns of a table, each (n,); raises ValueError where it is undefined.
Statistic = Callable[..., float]

CALIBRATION_BINS = 10


def binary_metrics(labels: ArrayLike, scores: ArrayLike, threshold: float) -> MetricValues:
    """Metrics of one set of faces, crops or videos.

    labels: (n,) 0 real, 1 fake. scores: (n,) in [0, 1], higher = more fake. threshold: scores at or
    above it count as fake. Rates are fractions in [0, 1]; None where they are undefined.
    """
    truth, values = _checked(labels, scores)
    return {
        "n_real": int((truth == REAL).sum()),
        "n_fake": int((truth == FAKE).sum()),
        **_ranking(truth, values),
        **rates_at(truth, values, threshold),
        **_calibration(truth, values),
    }


def class_counts(labels: ArrayLike, groups: ArrayLike) -> dict[str, int]:
    """n_real and n_fake faces, and groups_real and groups_fake independent groups that they are of.

    labels, groups: (n,). A group is everything that is linked by a person or a video, so the groups
    of a class are the number of people that its numbers rest on.
    """
    truth, names = np.asarray(labels), np.asarray(groups)
    kinds = {"real": truth == REAL, "fake": truth == FAKE}
    return {f"n_{kind}": int(chosen.sum()) for kind, chosen in kinds.items()} | {
        f"groups_{kind}": len(np.unique(names[chosen])) for kind, chosen in kinds.items()
    }


def rates_at(labels: ArrayLike, scores: ArrayLike, threshold: float) -> MetricValues:
    """Accuracy, precision, recall, F1, FPR and FNR at one threshold."""
    truth, values = _checked(labels, scores)
    called = values >= threshold
    hits, alarms = int((called & (truth == FAKE)).sum()), int((called & (truth == REAL)).sum())
    n_fake, n_real = int((truth == FAKE).sum()), int((truth == REAL).sum())
    recall = _ratio(hits, n_fake)
    return {
        "accuracy": _ratio(hits + n_real - alarms, len(truth)),
        "precision": _ratio(hits, hits + alarms),
        "recall": recall,
        "f1": _ratio(2 * hits, n_fake + hits + alarms) if n_fake else None,
        "fpr": _ratio(alarms, n_real),
        "fnr": None if recall is None else 1 - recall,
    }


def area_under_roc(labels: ArrayLike, scores: ArrayLike) -> float:
    """AUC of (n,) labels and scores, ties counted half. Raises ValueError when a class is absent.

    Computed as the rank sum of Mann and Whitney, because a bootstrap needs it a thousand times and
    scikit-learn takes a millisecond each.
    """
    truth, values = _both_classes(labels, scores)
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[position]
    n_fake = int((truth == FAKE).sum())
    above = ranks[truth == FAKE].sum() - n_fake * (n_fake + 1) / 2
    return float(above / (n_fake * (len(truth) - n_fake)))


def within_source_auc(labels: ArrayLike, scores: ArrayLike, sources: ArrayLike) -> float:
    """Mean of the AUCs inside each source, weighted by its number of real-fake pairs.

    labels, scores, sources: (n,). A source without both classes has no pair. The pooled AUC also
    compares a real of one camera with a fake of another; this one does not. Raises ValueError when
    no source has both classes.
    """
    truth, values, names = np.asarray(labels), np.asarray(scores), np.asarray(sources)
    aucs, pairs = [], []
    for name in np.unique(names):
        rows = names == name
        n_fake = int((truth[rows] == FAKE).sum())
        if count := n_fake * (int(rows.sum()) - n_fake):
            aucs.append(area_under_roc(truth[rows], values[rows]))
            pairs.append(count)
    if not pairs:
        raise ValueError("no source has both classes")
    return float(np.average(aucs, weights=pairs))


def equal_error_rate(labels: ArrayLike, scores: ArrayLike) -> float:
    """Rate at which false positives and false negatives are equal.

    labels: (n,) 0 or 1. scores: (n,) higher = more fake. Returns a fraction in [0, 1], interpolated
    between the two ROC points around the crossing. Raises ValueError when a class is absent.
    """
    truth, values = _both_classes(labels, scores)
    fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
    excess = fpr - (1 - tpr)  # ascends from -1 to 1
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def recall_at_fpr(labels: ArrayLike, scores: ArrayLike, max_fpr: float) -> float:
    """Highest recall with at most `max_fpr` false positives; no interpolation between ROC points.

    Raises ValueError when a class is absent.
    """
    truth, values = _both_classes(labels, scores)
    fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
    return float(tpr[fpr <= max_fpr].max())


def reliability(
    labels: ArrayLike, scores: ArrayLike, bins: int = CALIBRATION_BINS
) -> list[dict[str, float]]:
    """Per non-empty bin of equal width: mean score, fraction of fakes, count; ascending."""
    truth, values = _checked(labels, scores)
    index = np.minimum((values * bins).astype(int), bins - 1)
    return [
        {
            "score": float(values[index == bin_].mean()),
            "fake_frac": float((truth[index == bin_] == FAKE).mean()),
            "count": int((index == bin_).sum()),
        }
        for bin_ in np.unique(index)
    ]


def product_metric(
    labels: ArrayLike,
    scores: ArrayLike,
    is_inswapper: ArrayLike,
    compressed_real_scores: ArrayLike = (),
    threshold: float | None = None,
) -> float:
    """AUC x INSwapper recall x (1 - false positive rate of compressed reals): the goal of training.

    labels, scores, is_inswapper: (n,). compressed_real_scores: (m,) scores of compressed copies of
    the real faces; without any, the real faces themselves are used. Without INSwapper rows the
    recall is that of all fakes. threshold: default is the balanced one of these labels and scores.
    Raises ValueError when a class is absent.
    """
    truth, values = _both_classes(labels, scores)
    if threshold is None:
        threshold = choose_thresholds(truth, values)["balanced"]
    swapped = (truth == FAKE) & np.asarray(is_inswapper).astype(bool)
    wanted = values[swapped] if swapped.any() else values[truth == FAKE]
    compressed = np.asarray(compressed_real_scores, dtype=np.float64)
    alarms = compressed if len(compressed) else values[truth == REAL]
    recall, fpr = float((wanted >= threshold).mean()), float((alarms >= threshold).mean())
    return area_under_roc(truth, values) * recall * (1 - fpr)


def bootstrap_interval(
    statistic: Statistic,
    columns: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of `statistic(*columns)` over resampled whole groups.

    columns, groups: (n,) each. Faces of one person or video are not independent, so groups are
    drawn, not faces. Draws on which the statistic is undefined (ValueError) are left out; None when
    fewer than half remain, or with a single group.
    """
    values = [np.asarray(column) for column in columns]
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return None
    rows = [np.flatnonzero(member == group) for group in range(len(names))]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        chosen = np.concatenate([rows[g] for g in rng.integers(len(names), size=len(names))])
        try:
            drawn.append(statistic(*(column[chosen] for column in values)))
        except ValueError:
            continue
    if len(drawn) < draws / 2:
        return None
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ranking(truth: NDArray[np.int64], values: FloatArray64) -> MetricValues:
    names = ("auc", "ap", "eer", "recall_at_fpr_1pct", "recall_at_fpr_0_1pct")
    if len(np.unique(truth)) < 2:
        return dict.fromkeys(names)
    found = (
        area_under_roc(truth, values),
        float(average_precision_score(truth, values)),
        equal_error_rate(truth, values),
        recall_at_fpr(truth, values, 0.01),
        recall_at_fpr(truth, values, 0.001),
    )
    return dict(zip(names, found, strict=True))


def _calibration(truth: NDArray[np.int64], values: FloatArray64) -> MetricValues:
    if not len(truth):
        return {"ece": None, "brier": None}
    gaps = [
        row["count"] * abs(row["score"] - row["fake_frac"]) for row in reliability(truth, values)
    ]
    return {"ece": sum(gaps) / len(truth), "brier": float(np.mean((values - truth) ** 2))}


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], FloatArray64]:
    truth = np.asarray(labels).astype(np.int64)
    values = np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise ValueError(
            f"expected labels and scores of shape (n,), got {truth.shape} {values.shape}"
        )
    return truth, values


def _both_classes(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], FloatArray64]:
    truth, values = _checked(labels, scores)
    if len(np.unique(truth)) < 2:
        raise ValueError(f"both classes are needed, got {len(truth)} faces of one class or none")
    return truth, values


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
