from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import (
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
from tests.support.face_evidence import evidence_of

FIXED = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)
LEARNED = LearnedFusion(bias=-1.0, real_fake=2.0, inswapper=0.0, boundary=1.0)
probability = st.floats(0, 1)
logit = st.floats(-12, 12)


def logit_of(probability: float) -> float:
    """Inverse of the sigmoid, held away from infinity."""
    held = min(max(probability, 1e-15), 1 - 1e-15)
    return float(np.log(held / (1 - held)))


def heads_of(*views: tuple[float, float, float], **members: Any) -> FaceEvidence:
    """Evidence from the probabilities of the fused heads in every view."""
    columns = [np.array([logit_of(p) for p in column]) for column in zip(*views, strict=True)]
    return evidence_of(*columns, **members)


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
    assert fuse_views(evidence_of([4.0, -2.0]), 2.0, FIXED) == pytest.approx(sigmoid([2.0, -1.0]))


def test_learned_fusion_adds_logits() -> None:
    expected = sigmoid(-1.0 + 2 * logit_of(0.8) + logit_of(0.4))
    assert fuse_views(heads_of((0.8, 0.9, 0.4)), 1.0, LEARNED) == pytest.approx([expected])


def test_learned_fusion_adds_the_tree_logit_to_every_view() -> None:
    using = LEARNED.model_copy(update={"seam": 0.5})
    logits = heads_of((0.8, 0.9, 0.4), (0.3, 0.5, 0.6), trees=-3.0)
    expected = sigmoid(
        [
            -1.0 + 2 * logit_of(0.8) + logit_of(0.4) - 1.5,
            -1.0 + 2 * logit_of(0.3) + logit_of(0.6) - 1.5,
        ]
    )
    assert fuse_views(logits, 1.0, using) == pytest.approx(expected)


def test_faces_that_fill_their_image_have_weights_of_their_own() -> None:
    tight = LogisticWeights(bias=0.5, real_fake=1, inswapper=0, boundary=0)
    split = LEARNED.model_copy(update={"tight": tight, "tight_below": 0.1})
    one = evidence_of([[1.0, -0.5], [0.3, 2.0]])
    logits = replace(one, surroundings=np.array([0.05, 0.1]))
    alone = LearnedFusion(**tight.model_dump())
    for fuse in (fuse_views, fuse_face):
        found = fuse(logits, 1.0, split)
        assert found[0] == pytest.approx(fuse(one, 1.0, alone)[0])
        assert found[1] == pytest.approx(fuse(one, 1.0, LEARNED)[1])


@pytest.mark.parametrize("fusion", [FIXED, LEARNED])
def test_the_seam_trees_change_nothing_in_a_fusion_without_them(
    fusion: FusionParams | LearnedFusion,
) -> None:
    heads = heads_of((0.8, 0.9, 0.4), (0.3, 0.5, 0.6))
    for fuse in (fuse_views, fuse_face):
        with_trees = fuse(replace(heads, trees=np.float64(9.0)), 1.0, fusion)
        assert (with_trees == fuse(heads, 1.0, fusion)).all()


def test_a_fusion_that_uses_the_seam_trees_needs_them() -> None:
    using = LEARNED.model_copy(update={"seam": 0.5})
    with pytest.raises(ValueError, match="uses the seam trees, but this evidence has none"):
        fuse_face(heads_of((0.8, 0.9, 0.4)), 1.0, using)


@given(probability, probability, probability)
def test_a_score_is_a_probability_and_lies_between_its_heads(a: float, b: float, c: float) -> None:
    score = float(fuse_views(heads_of((a, b, c)), 1.0, FIXED)[0])
    assert min(a, b, c) - 1e-9 <= score <= max(a, b, c) + 1e-9
    assert 0 <= score <= 1


@given(st.lists(st.tuples(logit, logit, logit), min_size=1, max_size=4), logit)
def test_a_face_of_equal_views_scores_as_each_of_them(
    heads: list[tuple[float, float, float]], seam: float
) -> None:
    using = LearnedFusion(bias=0.3, real_fake=0.4, inswapper=0.2, boundary=0.1, seam=0.5)
    first, repeated = (
        evidence_of(*(np.full(views, head) for head in heads[0]), trees=seam) for views in (1, 3)
    )
    for fusion in (FIXED, using):
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
    logits = evidence_of(*rng.normal(0, 2, (3, 5, 4)), trees=rng.normal(size=5))
    using = LEARNED.model_copy(update={"seam": 0.7})
    for fusion in (FIXED, using):
        together = fuse_views(logits, 1.5, fusion), fuse_face(logits, 1.5, fusion)
        assert [part.shape for part in together] == [(5, 4), (5,)]
        for face in range(5):
            alone = logits[face]
            assert fuse_views(alone, 1.5, fusion) == pytest.approx(together[0][face])
            assert fuse_face(alone, 1.5, fusion) == pytest.approx(together[1][face])


def test_frames_are_averaged() -> None:
    assert fuse_frames([0.2, 0.4]) == pytest.approx(0.3)
