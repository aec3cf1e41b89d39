import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.thresholds import (
    Thresholds,
    choose_thresholds,
    lowest_with_fpr,
    sweep,
    verdict,
)

LIMITS = Thresholds(best_f1=0.5, low_fpr=0.8, balanced=0.55, suspicious=0.4)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.39, "real"), (0.4, "suspicious"), (0.79, "suspicious"), (0.8, "fake"), (1.0, "fake")],
)
def test_a_threshold_belongs_to_the_side_above_it(score: float, expected: str) -> None:
    assert verdict(score, LIMITS) == expected


def test_suspicion_never_begins_above_the_limit_for_fake() -> None:
    assert LIMITS.suspicious_from == 0.4
    assert LIMITS.model_copy(update={"low_fpr": 0.3}).suspicious_from == 0.3


def test_an_operator_may_lower_the_limit_below_the_suspicious_one() -> None:
    own = LIMITS.with_fake_from(0.3)
    assert verdict(0.3, own) == "fake"
    assert verdict(0.29, own) == "real"


def test_an_operator_limit_outside_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match="low_fpr"):
        LIMITS.with_fake_from(1.2)


def test_sweep_on_four_faces() -> None:
    rows = sweep([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], steps=3)
    assert [row["threshold"] for row in rows] == [0.25, 0.5, 0.75]
    assert [row["recall"] for row in rows] == [1.0, 0.5, 0.5]
    assert [row["fpr"] for row in rows] == [0.5, 0.5, 0.0]
    assert [row["precision"] for row in rows] == [pytest.approx(2 / 3), 0.5, 1.0]
    assert rows[0]["f1"] == pytest.approx(0.8)
    assert rows[2]["product"] == 0.5


def test_thresholds_lie_in_the_middle_of_the_gap() -> None:
    found = choose_thresholds([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert found == {"best_f1": 0.5, "balanced": 0.5}
    assert lowest_with_fpr([0.1, 0.2], [1, 1], 0.02) == 0.6  # nothing lies above the reals


def test_soft_copies_of_reals_raise_the_low_fpr_threshold() -> None:
    reals = [0.1, 0.2] + [0.3] * 97 + [0.85]
    assert lowest_with_fpr(reals, np.ones(100), 0.02) == pytest.approx(0.575)  # 1 of 100 may pass
    assert lowest_with_fpr(reals, np.ones(100), 0.005) == pytest.approx(0.925)


def test_a_threshold_by_weights_worked_out_by_hand() -> None:
    """Reals at .2 .4 .6 .8 of 4, 3, 2 and 1 tenths: shares at or above are 1, .6, .3 and .1."""
    reals, weights = [0.8, 0.2, 0.6, 0.4], [1.0, 4.0, 2.0, 3.0]
    expected = {0.05: 0.9, 0.1: 0.7, 0.29: 0.7, 0.3: 0.5, 0.6: 0.3, 0.99: 0.3, 1.0: 0.1}
    for fpr, threshold in expected.items():
        assert lowest_with_fpr(reals, weights, fpr) == pytest.approx(threshold), fpr
    # Only the weights' proportions count.
    assert lowest_with_fpr(reals, [70 * weight for weight in weights], 0.3) == 0.5


def test_reals_that_cannot_be_told_apart_give_the_highest_threshold() -> None:
    assert lowest_with_fpr([1.0], [1.0], 0.02) == 1.0


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_both_classes_are_needed(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        choose_thresholds(labels, [0.1, 0.9])
    with pytest.raises(ValueError, match="both classes"):
        sweep(labels, [0.1, 0.9], 3)


scores = st.lists(st.floats(0, 0.99), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(st.floats(0, 0.99), st.floats(0.01, 5)), min_size=1, max_size=60),
    st.floats(0.01, 0.5),
)
def test_the_low_fpr_threshold_keeps_its_promise(
    reals: list[tuple[float, float]], low_fpr: float
) -> None:
    values, weights = (np.array(column) for column in zip(*reals, strict=True))
    found = lowest_with_fpr(values, weights, low_fpr)
    assert weights[values >= found].sum() / weights.sum() <= low_fpr + 1e-9


@given(scores, scores)
def test_no_swept_threshold_beats_the_chosen_ones(real: list[float], fake: list[float]) -> None:
    labels, values = [0] * len(real) + [1] * len(fake), np.round(real + fake, 3)
    found = choose_thresholds(labels, values)
    rows = sweep(labels, values, 49)
    real_, fake_ = values[: len(real)], values[len(real) :]

    def product(threshold: float) -> float:
        return float(np.mean(fake_ >= threshold) * np.mean(real_ < threshold))

    assert product(found["balanced"]) >= max(row["product"] for row in rows) - 1e-9
    hits, alarms = np.sum(fake_ >= found["best_f1"]), np.sum(real_ >= found["best_f1"])
    assert 2 * hits / (len(fake) + hits + alarms) >= max(row["f1"] for row in rows) - 1e-9
