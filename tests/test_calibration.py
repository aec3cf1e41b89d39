import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.decision import DecisionSpec
from pipeline.errors import ManifestError
from pipeline.fusion import LearnedFusion, sigmoid
from pipeline.jsonfile import write_json
from pipeline.params import CalibrateParams, FusionParams
from pipeline.training.calibration import (
    ValidationFaces,
    calibrate,
    fit_fusion,
    fit_temperature,
    fused,
    golden_section,
    log_loss,
    read_calibration,
    score_validation,
    sweep_rows,
    validation_report,
)
from pipeline.training.degradations import SOFT_COPIES
from pipeline.training.scoring import FaceLogits
from tests.face_stores import PREPROCESS, SharpnessNet, drawn_store

ONE_HEAD = FusionParams(real_fake=1.0, inswapper=0.0, boundary=0.0)
MIXED = FusionParams(real_fake=0.55, inswapper=0.3, boundary=0.15)
PARAMS = CalibrateParams(
    fusion="fixed", low_fpr=0.05, sweep_steps=19, min_face_px=60, min_inside_frac=0.5
)


def logits_of(*heads: np.ndarray) -> FaceLogits:
    """(faces, 1) logits of the three fused heads."""
    columns = [np.asarray(head, dtype=np.float32)[:, None] for head in heads]
    names = ("real_fake", "inswapper", "boundary")
    return dict(zip(names, columns, strict=True)) | {
        "quality": np.zeros((len(columns[0]), 1, 3), dtype=np.float32)
    }


def drawn_logits(count: int = 4000, overconfidence: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true logits, and the logits of a network that exaggerates them."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, count)
    labels = (rng.random(count) < sigmoid(true)).astype(np.int64)
    return labels, overconfidence * true


def test_golden_section_finds_the_valley() -> None:
    assert golden_section(lambda x: (x - 0.3) ** 2, -1, 2) == pytest.approx(0.3, abs=1e-4)


def test_log_loss_of_two_faces() -> None:
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    assert log_loss(np.array([1, 0]), np.array([0.8, 0.4])) == pytest.approx(expected)
    assert math.isfinite(log_loss(np.array([1, 0]), np.array([0.0, 1.0])))


def test_temperature_undoes_overconfidence() -> None:
    labels, logit = drawn_logits(overconfidence=3.0)
    found = fit_temperature(labels, logits_of(logit, logit, logit), ONE_HEAD)
    assert found == pytest.approx(3.0, rel=0.08)


def test_no_other_temperature_is_better() -> None:
    labels, logit = drawn_logits(400)
    logits = logits_of(logit, 0.5 * logit, -logit)
    best = fit_temperature(labels, logits, MIXED)
    losses = [log_loss(labels, fused(logits, MIXED, t)) for t in np.geomspace(0.2, 10, 200)]
    assert log_loss(labels, fused(logits, MIXED, best)) <= min(losses) + 1e-9


def test_separable_faces_end_at_the_lowest_temperature() -> None:
    labels, logit = np.array([0, 1]), np.array([-0.1, 0.1])
    assert fit_temperature(labels, logits_of(logit, logit, logit), ONE_HEAD) == pytest.approx(
        0.2, rel=1e-3
    )


def test_learned_fusion_finds_the_head_that_knows() -> None:
    labels, logit = drawn_logits(overconfidence=1.0)
    noise = np.random.default_rng(1).normal(0, 1, len(labels))
    found = fit_fusion(labels, logits_of(noise, logit, -logit))
    assert found.inswapper == pytest.approx(1.0, abs=0.15)
    assert found.real_fake == pytest.approx(0.0, abs=0.1)
    assert found.boundary == 0.0  # its weight would be negative


def faces_of(soft_shift: float = 0.0) -> ValidationFaces:
    labels, logit = drawn_logits(400)
    reals = logit[labels == 0] + soft_shift
    return ValidationFaces(
        labels=labels,
        is_inswapper=labels,
        face_px=np.where(np.arange(400) % 2, 100.0, 200.0),
        logits=logits_of(logit, logit, logit),
        soft={name: logits_of(reals, reals, reals) for name in SOFT_COPIES},
    )


def test_both_fusions_are_fitted_and_params_choose() -> None:
    fixed_first = calibrate(faces_of(), MIXED, PARAMS)
    learned_first = calibrate(faces_of(), MIXED, PARAMS.model_copy(update={"fusion": "learned"}))
    assert fixed_first.decision == learned_first.other
    assert fixed_first.other == learned_first.decision
    assert isinstance(fixed_first.other.fusion, LearnedFusion)
    assert fixed_first.decision.fusion == MIXED


def test_softer_reals_raise_the_limit_for_fake() -> None:
    sharp, soft = (calibrate(faces_of(shift), MIXED, PARAMS).decision for shift in (0.0, 2.0))
    assert soft.thresholds.fake_from > sharp.thresholds.fake_from
    assert soft.thresholds.balanced == sharp.thresholds.balanced


def test_soft_copies_that_are_too_small_to_be_judged_do_not_count() -> None:
    faces = faces_of()
    high = np.full((faces.labels == 0).sum(), 50.0)
    tiny = ValidationFaces(
        faces.labels,
        faces.is_inswapper,
        faces.face_px,
        faces.logits,
        faces.soft | {"third": logits_of(high, high, high)},  # at most 70 px are left
    )
    strict = PARAMS.model_copy(update={"min_face_px": 71})
    assert (
        calibrate(tiny, MIXED, strict).decision.thresholds
        == calibrate(faces, MIXED, strict).decision.thresholds
    )
    report = validation_report(tiny, calibrate(tiny, MIXED, strict), strict)
    assert report["soft_real_fpr"]["third"] is None
    assert calibrate(tiny, MIXED, PARAMS).decision.thresholds.low_fpr > 0.99


def test_the_promised_false_positive_rate_is_kept_over_all_copies() -> None:
    faces = faces_of(0.5)
    report = validation_report(faces, calibrate(faces, MIXED, PARAMS), PARAMS)
    rates = [report["frame"]["fpr"], *report["soft_real_fpr"].values()]
    assert np.mean(rates) <= PARAMS.low_fpr + 0.01
    assert set(report["thresholds"]) == {"best_f1", "low_fpr", "balanced"}
    assert set(report["fusion"]) == {"fixed", "learned"}


def test_a_drawn_split_from_pictures_to_file(tmp_path: Path) -> None:
    store = drawn_store(people=3, frames=1)
    faces = score_validation(SharpnessNet().eval(), store, PREPROCESS)
    assert {name: len(logits["real_fake"]) for name, logits in faces.soft.items()} == dict.fromkeys(
        SOFT_COPIES, 3
    )
    blurred, plain = faces.soft["blur"]["real_fake"], faces.logits["real_fake"]
    assert (blurred > plain[faces.labels == 0]).all()
    calibration = calibrate(faces, MIXED, PARAMS)
    path = tmp_path / "calibration.json"
    write_json(path, calibration.model_dump())
    assert read_calibration(path).decision.thresholds == calibration.decision.thresholds
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
