"""pipeline.training.calibration.report: promised rates hold in what is reported."""

import numpy as np
import pytest

from pipeline.training.calibration.fit import calibrate, fit_decision
from pipeline.training.calibration.report import copies_report, validation_report
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.copies import AS_IT_IS
from pipeline.training.scoring.scorer import face_scores
from tests.support.drawn_logits import MIXED, ONE_HEAD, PARAMS, drawn_pool, faces_of


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
