"""pipeline.training.calibration.fit: limits, conformal sets and the file that holds them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.files import write_json
from pipeline.decision.decide import DecisionSpec
from pipeline.decision.fusion import LearnedFusion, sigmoid
from pipeline.decision.scorer import FaceScorer
from pipeline.runtime.errors import ManifestError
from pipeline.training.calibration.fit import (
    calibrate,
    fit_decision,
    read_calibration,
)
from pipeline.training.calibration.fusion import FEWEST_FACES
from pipeline.training.calibration.report import sweep_rows, validation_report
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.copies import AS_IT_IS, ScoredCopies, pool_of, score_copies
from pipeline.training.scoring.scorer import torch_network
from tests.support.drawn_logits import (
    MIXED,
    ONE_HEAD,
    PARAMS,
    drawn_logits,
    evidence_from,
    face_table,
    faces_of,
    pool_with,
)
from tests.support.face_stores import PREPROCESS, SharpnessNet, drawn_store
from tests.support.tiny_trees import stump


def test_both_fusions_are_fitted_and_params_choose() -> None:
    fixed_first = calibrate(faces_of(), MIXED, PARAMS)
    learned_first = calibrate(faces_of(), MIXED, PARAMS.model_copy(update={"fusion": "learned"}))
    assert fixed_first.decision == learned_first.other
    assert fixed_first.other == learned_first.decision
    assert isinstance(fixed_first.other.fusion, LearnedFusion)
    assert fixed_first.decision.fusion == MIXED
    assert fixed_first.other.temperature == 1.0


def test_softer_reals_raise_the_limit_for_fake() -> None:
    sharp, soft = (
        fit_decision(pool_of(faces_of(shift), 60), MIXED, 3.0, PARAMS).thresholds
        for shift in (0.0, 2.0)
    )
    assert soft.fake_from > sharp.fake_from
    assert soft.suspicious_from > sharp.suspicious_from
    # These two are of the faces as they are stored.
    assert (soft.balanced, soft.best_f1) == (sharp.balanced, sharp.best_f1)


def test_soft_copies_that_are_too_small_to_be_judged_do_not_count() -> None:
    faces = faces_of()
    high = np.full(400, 50.0)
    third = {"third": evidence_from(high)}  # at most 70 px are left
    tiny = replace(faces, copies=faces.copies | third)
    strict = PARAMS.model_copy(update={"min_face_px": 71})
    assert (
        calibrate(tiny, MIXED, strict).decision.thresholds
        == calibrate(faces, MIXED, strict).decision.thresholds
    )
    report = validation_report(tiny, calibrate(tiny, MIXED, strict), strict)
    assert "third" not in report["copies"]
    assert calibrate(tiny, MIXED, PARAMS).decision.thresholds.low_fpr > 0.99


def test_one_large_source_does_not_set_the_limit() -> None:
    """Of 90 studio photos and 10 of a phone, one of the phone's reals looks swapped."""
    labels = np.array([0] * 100 + [1] * 50)
    logit = np.array([-3.0] * 99 + [1.0] + [3.0] * 50)
    sources = np.array(["studio"] * 90 + ["phone"] * 10 + ["phone"] * 50)
    faces = ScoredCopies(
        faces=face_table(labels, source=sources),
        copies={AS_IT_IS: evidence_from(logit)},
    )
    strict = PARAMS.model_copy(update={"low_fpr": 0.04})
    limit, lone = float(sigmoid(1.0)), replace(faces, faces=face_table(labels, source="one"))
    # It is one of ten of its source, and its source half of all: 5 % of the weight, not 1 %.
    by_source = fit_decision(pool_of(faces, 60), ONE_HEAD, 1.0, strict)
    together = fit_decision(pool_of(lone, 60), ONE_HEAD, 1.0, strict)
    assert by_source.thresholds.low_fpr > limit
    assert together.thresholds.low_fpr < limit


def test_conformal_sets_are_promised_to_each_class_by_its_weights() -> None:
    """A soft source of few faces gets the coverage of its share of the weight."""
    labels, logit = drawn_logits(4000, 1.0)
    soft = np.arange(4000) % 10 == 0
    shifted = logit + 3.0 * soft
    weights = np.where(soft, 9.0, 1.0)
    pool = pool_with(labels, evidence_from(shifted), weights=weights)
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    kept = sigmoid(shifted) <= decision.open.conformal.real_at_most
    reals = labels == 0
    assert np.average(kept[reals], weights=weights[reals]) == pytest.approx(0.9, abs=0.01)
    assert kept[reals].mean() > 0.95


@pytest.mark.parametrize("few", [FEWEST_FACES, FEWEST_FACES - 1])
def test_faces_that_fill_the_image_get_limits_of_their_own_if_there_are_enough(few: int) -> None:
    labels, logit = drawn_logits(2000, 1.0)
    tight = np.zeros(2000, bool)
    for label in (0, 1):
        tight[np.flatnonzero(labels == label)[: few if label else 200]] = True
    shifted = logit + 1.5 * tight
    pool = pool_with(labels, evidence_from(shifted, surroundings=np.where(tight, 0.2, 0.9)))
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    assert decision.min_surroundings_frac == 0.25
    if few < FEWEST_FACES:
        everyone = fit_decision(
            pool_with(labels, evidence_from(shifted)), ONE_HEAD, 1.0, PARAMS
        ).open
        assert decision.tight == everyone
        assert decision.open != everyone
    else:
        alone = fit_decision(
            pool_with(labels[tight], evidence_from(shifted[tight])), ONE_HEAD, 1.0, PARAMS
        ).open
        assert decision.tight == alone
        assert decision.tight.thresholds.low_fpr > decision.open.thresholds.low_fpr


def test_less_evidence_never_lowers_the_limit_for_fake() -> None:
    labels, logit = drawn_logits(2000, 1.0)
    tight = np.arange(2000) % 2 == 0
    shifted = logit - 2.0 * tight  # as if less to see made faces look more real
    pool = pool_with(labels, evidence_from(shifted, surroundings=np.where(tight, 0.2, 0.9)))
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    assert decision.tight.thresholds.low_fpr == decision.open.thresholds.low_fpr
    assert decision.tight.thresholds.suspicious < decision.open.thresholds.suspicious


def test_the_softest_images_are_not_judged() -> None:
    labels = np.array([0] * 100 + [1] * 50)
    detail = np.concatenate([np.arange(100.0), np.full(50, -999.0)])
    detail[50] = np.nan  # a face without surroundings
    logit = np.where(labels == 1, 3.0, -3.0)
    pool = pool_with(labels, evidence_from(logit, detail=detail))
    decision = fit_decision(pool, ONE_HEAD, 1.0, PARAMS)
    limit = decision.min_detail
    assert limit is not None
    reals = detail[:100][np.isfinite(detail[:100])]
    assert (reals < limit).mean() <= PARAMS.soft_frac
    assert (reals <= limit).mean() >= PARAMS.soft_frac
    without = fit_decision(pool_with(labels, evidence_from(logit)), *(MIXED, 1.0, PARAMS))
    assert without.min_detail is None


def test_a_drawn_split_from_images_to_file(tmp_path: Path) -> None:
    store = drawn_store(people=3, frames=1)
    faces = score_copies(
        FaceScorer(torch_network(SharpnessNet().eval()), PREPROCESS, stump()), store
    )
    assert list(faces.copies) == [AS_IT_IS, *DEGRADED_COPIES]
    for evidence in faces.copies.values():
        assert evidence.real_fake.shape == (6, 4)
        assert np.shape(evidence.trees) == np.shape(evidence.detail) == (6,)
    blurred, plain = faces.copies["blur"], faces.stored
    assert (blurred.real_fake > plain.real_fake).all()
    assert blurred.detail is not None
    assert plain.detail is not None
    assert (blurred.detail < plain.detail).all()
    assert faces.labels.tolist() == [0, 1] * 3
    assert plain.surroundings.tolist() == [1.0] * 6
    calibration = calibrate(faces, MIXED, PARAMS)
    path = tmp_path / "calibration.json"
    write_json(path, calibration.model_dump())
    again = read_calibration(path).decision
    assert again.thresholds == calibration.decision.thresholds
    assert again.tight.conformal.fake_at_least == pytest.approx(
        calibration.decision.tight.conformal.fake_at_least, rel=1e-5
    )
    assert len(sweep_rows(faces, calibration.decision, 19)) == 19


def test_a_calibration_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(ManifestError, match=r"calibration\.json: not found; run calibrate"):
        read_calibration(path)
    write_json(path, {"decision": {"temperature": -1}})
    with pytest.raises(ManifestError, match=r"calibration\.json: decision\.temperature"):
        read_calibration(path)


def test_a_decision_says_which_fusion_it_uses() -> None:
    spec = calibrate(faces_of(), MIXED, PARAMS).other
    assert DecisionSpec.model_validate_json(spec.model_dump_json()) == spec
