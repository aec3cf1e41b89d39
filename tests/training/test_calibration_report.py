"""pipeline.training.calibration.report: promised rates hold in what is reported."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.training.calibration.fit import calibrate, fit_decision
from pipeline.training.calibration.report import (
    copies_report,
    temperature_warnings,
    val_summary,
    validation_report,
)
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.copies import AS_IT_IS
from pipeline.training.scoring.scorer import face_scores
from tests.support.drawn_logits import (
    MIXED,
    ONE_HEAD,
    PARAMS,
    drawn_pool,
    evidence_from,
    faces_of,
)


def test_the_promised_false_positive_rate_is_kept_over_all_copies() -> None:
    faces = faces_of(0.5)
    report = validation_report(faces, calibrate(faces, MIXED, PARAMS), PARAMS)
    assert report["copies"]["all"]["fpr"] <= PARAMS.low_fpr + 1e-9
    copies = [report["copies"][name] for name in (AS_IT_IS, *DEGRADED_COPIES)]
    fprs = [found["fpr"] for found in copies]
    assert np.average(fprs, weights=[found["n_real"] for found in copies]) <= PARAMS.low_fpr + 1e-9
    assert set(report["thresholds"]) == {"open", "tight"}
    assert set(report["rates"]) == {"best_f1", "low_fpr", "balanced", "suspicious"}
    assert set(report["fusion"]) == {"fixed", "learned"}
    assert report["copies"]["all"]["groups_real"] == report["frame"]["groups_real"] > 100


def test_conformal_sets_keep_their_promise_on_faces_not_seen() -> None:
    for seed in (1, 2):
        decision = fit_decision(drawn_pool(seed, 12000), ONE_HEAD, 1.0, PARAMS)
        fitted = copies_report(drawn_pool(seed, 12000), decision)["all"]
        fresh = copies_report(drawn_pool(seed + 10, 12000), decision)["all"]
        for name in ("coverage_real", "coverage_fake"):
            assert 0.9 <= fitted[name] < 0.9005
            assert fresh[name] == pytest.approx(0.9, abs=0.02)
        # Classes that overlap this much leave a good part undecided.
        assert 0.1 < fresh["both_possible"] < 0.9


def test_the_rates_are_those_of_the_faces_at_each_limit() -> None:
    faces = faces_of(0.5)
    calibration = calibrate(faces, MIXED, PARAMS)
    scores = face_scores(faces.stored, calibration.decision)
    for found in validation_report(faces, calibration, PARAMS)["rates"].values():
        called = scores >= found["value"]
        assert found["recall"] == pytest.approx(called[faces.labels == 1].mean())
        assert found["fpr"] == pytest.approx(called[faces.labels == 0].mean())


def test_the_summary_is_flat_and_short() -> None:
    faces = faces_of(0.5)
    calibration = calibrate(faces, MIXED, PARAMS)
    report = validation_report(faces, calibration, PARAMS)
    found = val_summary(report, calibration.decision, "0a")
    assert len(found) <= 25
    assert not [value for value in found.values() if isinstance(value, dict | list)]
    assert found["auc"] == report["frame"]["auc"]
    assert found["within_source_auc"] == pytest.approx(found["auc"])
    assert found["fake_from"] == calibration.decision.thresholds.fake_from
    assert (found["uniface_recall"], found["val_set"]) == (None, "0a")
    assert report["headline"]["reason"] == "uniface_recall: no such faces in this split"


def test_few_people_are_warned_of() -> None:
    faces = faces_of(0.5)
    calibration = calibrate(faces, MIXED, PARAMS)
    assert validation_report(faces, calibration, PARAMS)["warnings"] == []
    few = faces.faces.assign(group=np.where(faces.labels == 1, "a", faces.faces["group"]))
    report = validation_report(replace(faces, faces=few), calibration, PARAMS)
    assert report["warnings"][0].startswith("only 1 person with fakes in the validation split: ")


@pytest.mark.parametrize(("scale", "bound"), [(300.0, "10"), (0.001, "0.2")])
def test_a_temperature_at_its_bound_is_warned_of(scale: float, bound: str) -> None:
    """A network whose logits are far too large or small needs another temperature than allowed."""
    faces = faces_of()
    scaled = {
        name: evidence_from(scale * evidence.real_fake[:, 0])
        for name, evidence in faces.copies.items()
    }
    faces = replace(faces, copies=scaled)
    calibration = calibrate(faces, MIXED, PARAMS)
    (line,) = temperature_warnings(calibration)
    assert line == (
        f"temperature {bound} of the fixed fusion is at the bound of its range (0.2 to 10): its"
        " scores are not calibrated"
    )
    assert temperature_warnings(calibrate(faces_of(), MIXED, PARAMS)) == []
