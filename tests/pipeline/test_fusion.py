import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.fusion import (
    FUSED_HEADS,
    SEAM,
    SURROUNDINGS,
    LearnedFusion,
    LogisticWeights,
    apply_temperature,
    fuse_face,
    fuse_frames,
    fuse_views,
    sigmoid,
    softmax,
)
from pipeline.runtime.sections import FusionParams

FIXED = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)
LEARNED = LearnedFusion(bias=-1.0, real_fake=2.0, inswapper=0.0, boundary=1.0)
probability = st.floats(0, 1)
logit = st.floats(-12, 12)


def logit_of(probability: float) -> float:
    """Inverse of the sigmoid, held away from infinity."""
    held = min(max(probability, 1e-15), 1 - 1e-15)
    return float(np.log(held / (1 - held)))


def heads_of(*views: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Logits of the fused heads, (views,), from their probabilities."""
    columns = zip(*views, strict=True)
    return {
        name: np.array([logit_of(p) for p in column])
        for name, column in zip(FUSED_HEADS, columns, strict=True)
    }


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
    found = fuse_views(heads_of((1.0, 0.5, 0.2)), 1.0, FIXED)
    assert found == pytest.approx([0.55 + 0.15 + 0.03])


def test_fixed_weights_cap_a_swap_of_another_generator() -> None:
    assert fuse_views(heads_of((1.0, 0.0, 1.0)), 1.0, FIXED) == pytest.approx([0.70])


def test_fixed_weights_see_calibrated_probabilities() -> None:
    logits = {name: np.array([4.0, -2.0]) for name in FUSED_HEADS}
    assert fuse_views(logits, 2.0, FIXED) == pytest.approx(sigmoid([2.0, -1.0]))


def test_learned_fusion_adds_logits() -> None:
    expected = sigmoid(-1.0 + 2 * logit_of(0.8) + logit_of(0.4))
    assert fuse_views(heads_of((0.8, 0.9, 0.4)), 1.0, LEARNED) == pytest.approx([expected])


def test_learned_fusion_adds_the_seams_logit_to_every_view() -> None:
    heard = LEARNED.model_copy(update={"seam": 0.5})
    logits = heads_of((0.8, 0.9, 0.4), (0.3, 0.5, 0.6)) | {SEAM: np.float64(-3.0)}
    expected = sigmoid(
        [
            -1.0 + 2 * logit_of(0.8) + logit_of(0.4) - 1.5,
            -1.0 + 2 * logit_of(0.3) + logit_of(0.6) - 1.5,
        ]
    )
    assert fuse_views(logits, 1.0, heard) == pytest.approx(expected)


def test_faces_that_fill_their_image_have_weights_of_their_own() -> None:
    tight = LogisticWeights(bias=0.5, real_fake=1, inswapper=0, boundary=0)
    split = LEARNED.model_copy(update={"tight": tight, "tight_below": 0.1})
    one = {name: np.array([[1.0, -0.5], [0.3, 2.0]]) for name in FUSED_HEADS}
    logits = one | {SURROUNDINGS: np.array([0.05, 0.1])}
    alone = LearnedFusion(**tight.model_dump())
    for fuse in (fuse_views, fuse_face):
        found = fuse(logits, 1.0, split)
        assert found[0] == pytest.approx(fuse(one, 1.0, alone)[0])
        assert found[1] == pytest.approx(fuse(one, 1.0, LEARNED)[1])


@pytest.mark.parametrize("fusion", [FIXED, LEARNED])
def test_the_seam_is_not_needed_by_a_fusion_that_does_not_hear_it(
    fusion: FusionParams | LearnedFusion,
) -> None:
    heads = heads_of((0.8, 0.9, 0.4), (0.3, 0.5, 0.6))
    for fuse in (fuse_views, fuse_face):
        assert (fuse(heads | {SEAM: 9.0}, 1.0, fusion) == fuse(heads, 1.0, fusion)).all()


@given(probability, probability, probability)
def test_a_score_is_a_probability_and_lies_between_its_heads(a: float, b: float, c: float) -> None:
    score = float(fuse_views(heads_of((a, b, c)), 1.0, FIXED)[0])
    assert min(a, b, c) - 1e-9 <= score <= max(a, b, c) + 1e-9
    assert 0 <= score <= 1


@given(st.lists(st.tuples(logit, logit, logit), min_size=1, max_size=4), logit)
def test_a_face_of_equal_views_scores_as_each_of_them(
    heads: list[tuple[float, float, float]], seam: float
) -> None:
    heard = LearnedFusion(bias=0.3, real_fake=0.4, inswapper=0.2, boundary=0.1, seam=0.5)
    first = dict(zip(FUSED_HEADS, np.array(heads[0])[:, None], strict=True)) | {SEAM: seam}
    repeated = {name: np.repeat(first[name], 3) for name in FUSED_HEADS} | {SEAM: seam}
    for fusion in (FIXED, heard):
        one = float(fuse_face(first, 1.3, fusion))
        assert float(fuse_face(repeated, 1.3, fusion)) == pytest.approx(one, abs=1e-12)
        assert fuse_views(repeated, 1.3, fusion) == pytest.approx([one] * 3, abs=1e-12)


def test_fixed_views_are_averaged_as_probabilities_and_learned_ones_as_logits() -> None:
    views = heads_of((0.9, 0.9, 0.9), (0.3, 0.3, 0.3))
    assert float(fuse_face(views, 1.0, FIXED)) == pytest.approx(0.6)
    means = (logit_of(0.9) + logit_of(0.3)) / 2
    assert float(fuse_face(views, 1.0, LEARNED)) == pytest.approx(float(sigmoid(3 * means - 1)))


def test_many_faces_at_once_are_fused_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(0, 2, (5, 4)) for name in FUSED_HEADS} | {SEAM: rng.normal(size=5)}
    heard = LEARNED.model_copy(update={"seam": 0.7})
    for fusion in (FIXED, heard):
        together = fuse_views(logits, 1.5, fusion), fuse_face(logits, 1.5, fusion)
        assert [part.shape for part in together] == [(5, 4), (5,)]
        for face in range(5):
            alone = {name: values[face] for name, values in logits.items()}
            assert fuse_views(alone, 1.5, fusion) == pytest.approx(together[0][face])
            assert fuse_face(alone, 1.5, fusion) == pytest.approx(together[1][face])


def test_frames_are_averaged() -> None:
    assert fuse_frames([0.2, 0.4]) == pytest.approx(0.3)
