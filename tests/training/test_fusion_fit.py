"""pipeline.training.calibration.fusion: fitted temperatures and weights recover what was drawn."""

import math

import numpy as np
import pytest

from pipeline.decision.fusion import FUSED_HEADS, LearnedFusion, fuse_face
from pipeline.training.calibration.fusion import (
    FEWEST_FACES,
    fit_fusion,
    fit_temperature,
    fit_weights,
    log_loss,
)
from tests.support.drawn_logits import MIXED, ONE_HEAD, drawn_logits, evidence_from, pool_with


def test_log_loss_of_two_faces() -> None:
    labels, scores, even = np.array([1, 0]), np.array([0.8, 0.4]), np.ones(2)
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    assert log_loss(labels, scores, even) == pytest.approx(expected)
    expected = -(3 * math.log(0.8) + math.log(0.6)) / 4
    assert log_loss(labels, scores, np.array([3.0, 1.0])) == pytest.approx(expected)
    assert math.isfinite(log_loss(labels, np.array([0.0, 1.0]), even))


def test_temperature_undoes_overconfidence() -> None:
    labels, logit = drawn_logits(overconfidence=3.0)
    found = fit_temperature(pool_with(labels, evidence_from(logit)), ONE_HEAD)
    assert found == pytest.approx(3.0, rel=0.08)


def test_no_other_temperature_is_better() -> None:
    labels, logit = drawn_logits(400)
    weights = np.random.default_rng(5).uniform(0.2, 3, 400)
    pool = pool_with(labels, evidence_from(logit, 0.5 * logit, -logit), weights=weights)
    best = fit_temperature(pool, MIXED)

    def loss(temperature: float) -> float:
        return log_loss(labels, fuse_face(pool.evidence, temperature, MIXED), weights)

    assert loss(best) <= min(loss(float(t)) for t in np.geomspace(0.2, 10, 200)) + 1e-9


def test_separable_faces_end_at_the_lowest_temperature() -> None:
    labels, logit = np.array([0, 1]), np.array([-0.1, 0.1])
    pool = pool_with(labels, evidence_from(logit))
    assert fit_temperature(pool, ONE_HEAD) == pytest.approx(0.2, rel=1e-3)


def test_learned_fusion_finds_the_head_that_knows() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(1).normal(0, 1, len(labels))
    found = fit_weights(pool_with(labels, evidence_from(noise, logit, -logit)))
    assert found.inswapper == pytest.approx(1.0, abs=0.15)
    assert found.real_fake == pytest.approx(0.0, abs=0.1)
    assert found.boundary == 0.0  # its weight would be negative
    assert found.seam == 0.0  # there is none


def test_learned_fusion_uses_informative_seam_trees() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(1).normal(0, 1, len(labels))
    found = fit_weights(pool_with(labels, evidence_from(noise, trees=logit)))
    assert found.seam == pytest.approx(1.0, abs=0.15)
    assert sum(getattr(found, head) for head in FUSED_HEADS) == pytest.approx(0.0, abs=0.1)


def test_uninformative_seam_trees_get_no_weight() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    heads = (logit, np.zeros(len(labels)), np.zeros(len(labels)))
    without = fit_weights(pool_with(labels, evidence_from(*heads)))
    noise = np.random.default_rng(2).normal(0, 1, len(labels))
    misleading = noise - logit  # the more it says, the less it is true
    found = fit_weights(pool_with(labels, evidence_from(*heads, trees=misleading)))
    constant = fit_weights(pool_with(labels, evidence_from(*heads, trees=np.zeros(len(labels)))))
    assert found.seam == 0.0 or found.seam < 0.02
    assert constant.seam == pytest.approx(0.0, abs=1e-6)
    assert constant.real_fake == pytest.approx(without.real_fake, rel=1e-3)
    blind = (np.zeros(len(labels)),) * 3
    against = fit_weights(pool_with(labels, evidence_from(*blind, trees=-logit)))
    assert against.seam == 0.0


def test_weights_count_in_the_learned_fusion() -> None:
    """A source that weighs nothing changes nothing."""
    labels, logit = drawn_logits(400, 1.0)
    known = fit_weights(pool_with(labels, evidence_from(logit, 0 * logit, 0 * logit)))
    both = np.concatenate([logit, -logit])
    pool = pool_with(
        np.tile(labels, 2),
        evidence_from(both, 0 * both, 0 * both),
        weights=np.repeat([1.0, 1e-9], 400),
    )
    # Weights are scaled to a mean of 1, so that the L2 strength counts half as much here.
    assert fit_weights(pool).real_fake == pytest.approx(known.real_fake, rel=0.01)


def test_faces_without_surroundings_have_their_own_weights() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(3).normal(0, 1, len(labels))
    lacks_surroundings = np.arange(len(labels)) % 4 == 0
    seam = np.where(lacks_surroundings, noise, logit)
    shares = np.where(lacks_surroundings, 0.1, 0.8)
    evidence = evidence_from(noise, logit / 2, noise, trees=seam, surroundings=shares)
    pool = pool_with(labels, evidence)
    found = fit_fusion(pool, tight_below=0.25)
    assert found.tight is not None
    assert found.tight_below == 0.25
    assert found.tight == fit_weights(pool.where(lacks_surroundings))
    assert found.model_dump(exclude={"tight", "tight_below"}) == (
        fit_weights(pool.where(~lacks_surroundings)).model_dump()
    )
    assert found.seam > 0.3 > found.tight.seam
    scores = fuse_face(evidence, 1.0, found)
    for rows, weights in (
        (lacks_surroundings, found.tight),
        (~lacks_surroundings, fit_weights(pool.where(~lacks_surroundings))),
    ):
        alone = fuse_face(pool.where(rows).evidence, 1.0, LearnedFusion(**weights.model_dump()))
        np.testing.assert_allclose(scores[rows], alone)


def test_few_faces_of_a_kind_get_no_weights_of_their_own() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    shares = np.where(np.arange(len(labels)) < FEWEST_FACES, 0.1, 0.8)
    pool = pool_with(labels, evidence_from(logit, surroundings=shares))
    found = fit_fusion(pool, tight_below=0.25)
    assert found.tight is None
    assert found == LearnedFusion(**fit_weights(pool).model_dump())
