import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fusion import (
    LearnedFusion,
    apply_temperature,
    fuse_crops,
    fuse_frames,
    fuse_heads,
    sigmoid,
    softmax,
    to_logit,
)
from pipeline.params import FusionParams

FIXED = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)
probability = st.floats(0, 1)


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid([-1000.0, 0.0, 1000.0]).tolist() == [0.0, 0.5, 1.0]


def test_softmax_of_equal_and_of_huge_logits() -> None:
    found = softmax([[0.0, 0.0], [1000.0, 0.0]])
    assert found == pytest.approx(np.array([[0.5, 0.5], [1.0, 0.0]]))


def test_temperature_of_two_halves_the_logit() -> None:
    assert apply_temperature(4.0, 2.0) == pytest.approx(1 / (1 + np.exp(-2)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        apply_temperature(1.0, temperature)


def test_fixed_weights_are_a_weighted_mean() -> None:
    assert fuse_heads(1.0, 0.5, 0.2, FIXED) == pytest.approx(0.55 + 0.15 + 0.03)


def test_fixed_weights_cap_a_swap_of_another_generator() -> None:
    assert fuse_heads(1.0, 0.0, 1.0, FIXED) == pytest.approx(0.70)


def test_learned_fusion_adds_logits() -> None:
    learned = LearnedFusion(bias=-1.0, real_fake=2.0, inswapper=0.0, boundary=1.0)
    expected = sigmoid(-1.0 + 2 * to_logit(0.8) + to_logit(0.4))
    assert fuse_heads(0.8, 0.9, 0.4, learned) == pytest.approx(expected)


@given(probability, probability, probability)
def test_a_score_is_a_probability_and_lies_between_its_heads(a: float, b: float, c: float) -> None:
    score = float(fuse_heads(a, b, c, FIXED))
    assert min(a, b, c) - 1e-9 <= score <= max(a, b, c) + 1e-9
    assert 0 <= score <= 1


@given(st.floats(-12, 12))
def test_to_logit_inverts_sigmoid(logit: float) -> None:
    assert to_logit(sigmoid(logit)) == pytest.approx(logit, abs=1e-5)


def test_crops_and_frames_are_averaged() -> None:
    assert fuse_crops([[0.0, 0.3, 0.6], [1.0, 1.0, 1.0]]).tolist() == pytest.approx([0.3, 1.0])
    assert fuse_frames([0.2, 0.4]) == pytest.approx(0.3)
