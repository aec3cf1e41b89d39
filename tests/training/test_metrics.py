import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.decision.thresholds import choose_thresholds
from pipeline.training.scoring.metrics import (
    area_under_roc,
    binary_metrics,
    bootstrap_interval,
    class_counts,
    equal_error_rate,
    product_metric,
    rates_at,
    recall_at_fpr,
    reliability,
    within_source_auc,
)

LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
SCORES = [0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9]


def test_metrics_of_eight_faces() -> None:
    found = binary_metrics(LABELS, SCORES, threshold=0.5)
    assert (found["n_real"], found["n_fake"]) == (4, 4)
    assert found["auc"] == pytest.approx(14 / 16)
    assert found["accuracy"] == 6 / 8
    assert found["precision"] == 3 / 4
    assert found["recall"] == 3 / 4
    assert found["f1"] == pytest.approx(0.75)
    assert found["fpr"] == 1 / 4
    assert found["fnr"] == 1 / 4
    assert found["eer"] == pytest.approx(0.25)
    assert found["recall_at_fpr_1pct"] == 0.5
    assert found["brier"] == pytest.approx(np.mean((np.array(SCORES) - LABELS) ** 2))


def test_a_missing_class_leaves_its_metrics_undefined() -> None:
    reals = binary_metrics([0, 0], [0.2, 0.8], threshold=0.5)
    assert reals["fpr"] == 0.5
    undefined = ("auc", "ap", "eer", "recall", "fnr", "f1", "recall_at_fpr_0_1pct")
    assert [reals[name] for name in undefined] == [None] * len(undefined)
    fakes = binary_metrics([1, 1], [0.2, 0.8], threshold=0.5)
    assert fakes["recall"] == 0.5
    assert fakes["fpr"] is None


def test_an_empty_set_defines_nothing_and_warns_about_nothing() -> None:
    found = binary_metrics([], [], threshold=0.5)
    assert {key: value for key, value in found.items() if value is not None} == {
        "n_real": 0,
        "n_fake": 0,
    }


def test_no_call_leaves_the_precision_undefined() -> None:
    found = rates_at([0, 1], [0.1, 0.2], 0.9)
    assert found["precision"] is None
    assert found["recall"] == 0.0
    assert found["f1"] == 0.0


def test_faces_and_their_groups_are_counted_per_class() -> None:
    """Two people's fakes and three single photos: not five people for either class."""
    labels, groups = [1, 1, 1, 0, 0, 0, 0], ["a", "a", "b", "a", "c", "d", "e"]
    expected = {"n_real": 4, "n_fake": 3, "groups_real": 4, "groups_fake": 2}
    assert class_counts(labels, groups) == expected
    assert set(class_counts([], []).values()) == {0}


def test_auc_inside_sources_ignores_what_separates_them() -> None:
    """Fakes come from the camera with the higher scores; inside each camera they rank lower."""
    labels = [0, 0, 1, 1, 0, 1, 1, 1, 0]
    scores = [0.2, 0.3, 0.1, 0.25, 0.8, 0.9, 0.7, 0.6, 0.0]
    sources = ["a"] * 4 + ["b"] * 4 + ["only reals"]
    inside = (4 * 1 / 4 + 3 * 1 / 3) / (4 + 3)
    assert within_source_auc(labels, scores, sources) == pytest.approx(inside)
    assert area_under_roc(labels, scores) > 0.5
    assert within_source_auc(labels, scores, ["a"] * 9) == area_under_roc(labels, scores)


def test_auc_inside_sources_needs_a_source_with_both_classes() -> None:
    with pytest.raises(ValueError, match="no source has both classes"):
        within_source_auc(LABELS, SCORES, ["a"] * 4 + ["b"] * 4)


def test_equal_error_rate_is_interpolated() -> None:
    # ROC points (0, 0), (0, .5), (1, .5), (1, 1): FPR meets FNR = .5 on the way from (0, .5).
    assert equal_error_rate([1, 0, 1], [0.9, 0.5, 0.1]) == pytest.approx(0.5)
    assert equal_error_rate([0, 1], [0.1, 0.9]) == 0.0
    assert equal_error_rate([1, 0], [0.1, 0.9]) == 1.0


def test_recall_at_fpr_does_not_interpolate() -> None:
    assert recall_at_fpr([0, 0, 1, 1], [0.5, 0.1, 0.4, 0.9], 0.49) == 0.5
    assert recall_at_fpr([0, 0, 1, 1], [0.5, 0.1, 0.4, 0.9], 0.5) == 1.0


def test_reliability_bins() -> None:
    rows = reliability([0, 1, 1, 1], [0.05, 0.45, 0.41, 1.0], bins=10)
    assert [row["count"] for row in rows] == [1, 2, 1]
    assert rows[1]["score"] == pytest.approx(0.43)
    assert [row["fake_frac"] for row in rows] == [0.0, 1.0, 1.0]


def test_perfectly_calibrated_scores_have_no_calibration_error() -> None:
    labels = [0] * 3 + [1] + [0] + [1] * 3
    found = binary_metrics(labels, [0.25] * 4 + [0.75] * 4, 0.5)
    assert found["ece"] == pytest.approx(0.0)
    assert binary_metrics([1, 1], [0.25, 0.25], 0.5)["ece"] == pytest.approx(0.75)


def test_product_metric_multiplies_its_three_parts() -> None:
    swapped = [0, 0, 0, 0, 1, 1, 0, 0]
    found = product_metric(LABELS, SCORES, swapped, [0.1, 0.9], threshold=0.5)
    assert found == pytest.approx(14 / 16 * 0.5 * 0.5)


def test_product_metric_without_inswapper_rows_or_compressed_copies() -> None:
    found = product_metric(LABELS, SCORES, [0] * 8, threshold=0.5)
    assert found == pytest.approx(14 / 16 * 0.75 * 0.75)
    assert product_metric([0, 1], [0.1, 0.9], [0, 1]) == 1.0


@pytest.mark.parametrize("function", [area_under_roc, equal_error_rate])
def test_ranking_metrics_need_both_classes(function) -> None:
    with pytest.raises(ValueError, match="both classes"):
        function([1, 1], [0.1, 0.2])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=1, max_size=40))
def test_area_under_roc_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    labels, scores = zip(*[(0, 4), (1, 5), *rows], strict=True)
    assert area_under_roc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_labels_and_scores_must_match() -> None:
    with pytest.raises(ValueError, match="shape"):
        binary_metrics([0, 1], [0.1], 0.5)


def test_bootstrap_draws_whole_groups() -> None:
    # Within a group the mean is constant: only the choice of groups can move it.
    labels, scores = [0] * 6, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    groups = ["a"] * 3 + ["b"] * 3

    def mean(_: np.ndarray, values: np.ndarray) -> float:
        return float(values.mean())

    interval = bootstrap_interval(mean, [labels, scores], groups, draws=400, seed=1)
    assert interval == (0.0, 1.0)
    assert bootstrap_interval(mean, [labels, scores], ["a"] * 6, draws=400, seed=1) is None


def test_bootstrap_leaves_undefined_draws_out() -> None:
    groups = list("aabbccdd")
    interval = bootstrap_interval(area_under_roc, [LABELS, SCORES], groups, draws=200, seed=2)
    assert interval is not None
    assert 0 <= interval[0] <= 14 / 16 <= interval[1] <= 1
    one_class = bootstrap_interval(area_under_roc, [[1] * 8, SCORES], groups, draws=50, seed=2)
    assert one_class is None


def test_bootstrap_repeats_itself() -> None:
    first, second = (
        bootstrap_interval(area_under_roc, [LABELS, SCORES], list("aabbccdd"), draws=50, seed=5)
        for _ in range(2)
    )
    assert first == second


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_rates_stay_in_range(rows: list[tuple[int, float]]) -> None:
    labels, scores = zip(*rows, strict=True)
    found = binary_metrics(labels, scores, 0.5)
    rates = [
        value for key, value in found.items() if value is not None and not key.startswith("n_")
    ]
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in rates)


def test_the_interval_holds_nineteen_of_twenty_draws() -> None:
    """Of 200 groups of one score each, a mean spreads by a normal law: 1.96 deviations each way."""
    scores = np.random.default_rng(4).random(200)
    interval = bootstrap_interval(
        lambda values: float(values.mean()), [scores], range(200), draws=4000, seed=6
    )
    assert interval is not None
    reach = 1.96 * scores.std() / np.sqrt(200)
    assert np.subtract(interval, scores.mean()) == pytest.approx([-reach, reach], rel=0.05)


def test_half_of_the_draws_must_define_the_statistic() -> None:
    def half_known(answers: list[float]):
        left = iter(answers)

        def statistic(_: np.ndarray, __: np.ndarray) -> float:
            if np.isnan(value := next(left)):
                raise ValueError
            return value

        return statistic

    def interval(known: int) -> tuple[float, float] | None:
        answers = [0.5] * known + [np.nan] * (10 - known)
        return bootstrap_interval(
            half_known(answers), [LABELS, SCORES], list("aabbccdd"), draws=10, seed=0
        )

    assert interval(5) == (0.5, 0.5)
    assert interval(4) is None


def test_the_product_metric_takes_the_balanced_threshold() -> None:
    """Best F1 would call everything fake; balanced lies in the middle of 0.6 and 0.7."""
    labels, scores = [0] * 2 + [1] * 8, [0.5, 0.6, 0.4, 0.55, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert choose_thresholds(labels, scores) == {"best_f1": 0.2, "balanced": 0.65}
    assert product_metric(labels, scores, labels) == pytest.approx(13 / 16 * 6 / 8)
    assert product_metric(labels, scores, labels, threshold=0.2) == 0


def test_a_score_at_the_threshold_counts_as_fake() -> None:
    found = rates_at([0, 1], [0.5, 0.5], 0.5)
    assert (found["recall"], found["fpr"]) == (1, 1)
    assert product_metric([0, 1], [0.1, 0.5], [0, 1], threshold=0.5) == 1
    assert product_metric([0, 1], [0.1, 0.9], [0, 1], [0.5], threshold=0.5) == 0
