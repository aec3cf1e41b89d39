import numpy as np
import pandas as pd
import pytest

from pipeline.decision.thresholds import Thresholds
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.evaluation.slices import (
    Slicer,
    by_generator,
    by_source,
    by_surroundings,
    by_threshold,
    by_verdict,
    by_view,
    coverage,
    frames,
    headline,
    six_reports,
    videos,
)
from pipeline.training.scoring.metrics import area_under_roc

SLICER = Slicer(
    Thresholds(best_f1=0.4, low_fpr=0.6, balanced=0.5, suspicious=0.5), draws=100, seed=1
)
PARAMS = EvaluateParams(
    seed=1, bootstrap=100, compressed_jpeg=50, low_quality_px=96, ladder_faces=4
)


def table_of(*rows: dict) -> pd.DataFrame:
    """Rows of faces; what a row leaves out is that of a clean real face."""
    common = {
        "label": 0,
        "fake_type": "real",
        "is_inswapper": 0,
        "source": "a",
        "identity_id": "p0",
        "source_identity_id": "",
        "frame_index": 0,
        "face_px": 120.0,
        "quality_label": 0,
        "score": 0.1,
        "verdict": "real",
        "surroundings": 1.0,
    }
    full = []
    for number, row in enumerate(rows):
        values = {**common, "video_id": f"v{number}", "group": f"g{number}", **row}
        values |= {"view_score_0": values["score"], "view_score_1": 1 - values["score"]}
        full.append(values | {"called": float(values["verdict"] == "fake")})
    return pd.DataFrame(full)


SWAP = {"label": 1, "fake_type": "inswapper", "is_inswapper": 1, "score": 0.9, "verdict": "fake"}
MISSED = SWAP | {"score": 0.3, "verdict": "real"}
FACES = table_of({}, {"score": 0.7, "verdict": "fake"}, {"score": 0.2}, SWAP, MISSED)
NOBODY = pd.DataFrame({"identity_id": ["q"], "source_identity_id": ["r"], "source": ["z"]})


def test_metrics_of_a_table_say_which_class_is_absent() -> None:
    assert SLICER.metrics(FACES)["auc"] == pytest.approx(5 / 6)
    assert "reason" not in SLICER.metrics(FACES)
    reals = SLICER.metrics(FACES[FACES["label"] == 0])
    assert (reals["auc"], reals["fpr"], reals["reason"]) == (None, 1 / 3, "no fake faces")
    assert SLICER.metrics(FACES.iloc[:0])["reason"] == "no real and no fake faces"


def test_an_interval_without_faces_is_null_with_a_reason() -> None:
    found = SLICER.flagged("recall", FACES.iloc[:0])
    assert found == {
        "recall": None,
        "recall_low": None,
        "recall_high": None,
        "reason": "no such faces in the test split",
    }


def test_an_interval_holds_its_number() -> None:
    found = SLICER.interval("auc", area_under_roc, FACES)
    assert found["auc_low"] <= found["auc"] <= found["auc_high"]


def test_flagged_are_those_that_the_product_calls_fake() -> None:
    """Not those above a threshold: a face that fills the image has limits of its own."""
    undecided = FACES.assign(verdict="undecided", called=0.0)
    assert SLICER.flagged("recall", undecided)["recall"] == 0.0
    assert SLICER.flagged("recall", FACES)["recall"] == pytest.approx(2 / 5)


def test_a_frame_takes_its_worst_face_and_a_video_the_mean_of_its_frames() -> None:
    faces = table_of(
        {"video_id": "v", "score": 0.2},
        {"video_id": "v", "score": 0.8},
        {"video_id": "v", "score": 0.4, "frame_index": 1},
    )
    assert sorted(frames(faces)["score"]) == [0.4, 0.8]
    assert videos(faces)["score"].tolist() == [pytest.approx(0.6)]


def test_videos_of_one_name_from_two_sources_stay_apart() -> None:
    faces = table_of(
        {"video_id": "001", "source": "a", "score": 0.2},
        SWAP | {"video_id": "001", "source": "b", "score": 0.8},
    )
    found = videos(faces)
    assert found["score"].tolist() == [0.2, 0.8]
    assert found["label"].tolist() == [0, 1]


def test_headline_numbers_and_the_reason_of_missing_ones() -> None:
    compressed = FACES[FACES["label"] == 0].assign(called=[1.0, 1.0, 0.0])
    found = headline(SLICER, FACES, compressed)
    assert found["inswapper_recall"] == 0.5
    assert found["fpr"] == pytest.approx(1 / 3)
    assert found["compressed_fpr"] == pytest.approx(2 / 3)
    assert "reason" not in found
    reals = FACES[FACES["label"] == 0]
    lacking = headline(SLICER, reals, compressed)
    assert lacking["auc"] is None
    assert "both classes" in lacking["reason"]
    assert "no such faces" in lacking["reason"]


@pytest.mark.parametrize(("called", "within"), [([1.0, 1.0, 0.0], 1), ([1.0, 1.0, 1.0], 0)])
def test_compressed_reals_may_be_flagged_at_most_twice_as_often(
    called: list[float], within: int
) -> None:
    compressed = FACES[FACES["label"] == 0].assign(called=called)
    report = six_reports(SLICER, FACES, compressed, NOBODY, PARAMS)["compressed_real"]
    assert report["at_most_twice_clean"] == within
    assert report["clean_fpr"] == pytest.approx(1 / 3)
    assert report["times_clean"] == pytest.approx(2 if within else 3)


def test_no_clean_alarm_leaves_the_ratio_undefined() -> None:
    faces = table_of({}, SWAP)
    report = six_reports(SLICER, faces, faces.iloc[:1], NOBODY, PARAMS)["compressed_real"]
    assert report["times_clean"] is None
    assert report["reason"] == "no clean real face was flagged fake"
    assert report["at_most_twice_clean"] == 1


def test_low_quality_means_small_or_heavily_degraded() -> None:
    faces = table_of({"face_px": 95.0}, {"quality_label": 2}, {"face_px": 96.0}, SWAP)
    report = six_reports(SLICER, faces, faces.iloc[:3], NOBODY, PARAMS)["low_quality"]
    assert (report["n_real"], report["n_fake"]) == (2, 0)


def test_identities_seen_in_training_as_target_or_as_source_are_left_out() -> None:
    faces = table_of(
        {"identity_id": "q"},
        SWAP | {"identity_id": "p1", "source_identity_id": "r"},
        {"identity_id": "p2"},
        SWAP | {"identity_id": "p3", "source_identity_id": ""},
    )
    report = six_reports(SLICER, faces, faces.iloc[:1], NOBODY, PARAMS)["unseen_identity"]
    assert (report["n_real"], report["n_fake"]) == (1, 1)
    assert report["seen_in_training_frac"] == 0.5


def test_unseen_sources_are_reported_only_where_there_are_any() -> None:
    compressed = FACES[FACES["label"] == 0]
    seen = NOBODY.assign(source="a")
    known = six_reports(SLICER, FACES, compressed, seen, PARAMS)["unseen_source"]
    assert known["auc"] is None
    assert known["reason"] == "every test source also occurs in training (a)"
    new = six_reports(SLICER, FACES, compressed, NOBODY, PARAMS)["unseen_source"]
    assert new["auc"] == pytest.approx(5 / 6)


def test_generators_are_compared_with_all_reals() -> None:
    report = by_generator(SLICER, FACES)
    assert (report["inswapper"]["n_real"], report["inswapper"]["n_fake"]) == (3, 2)
    assert report["uniface"] == {
        "auc": None,
        "recall": None,
        "reason": "no uniface fakes in the test split",
    }


def test_each_view_alone() -> None:
    report = by_view(SLICER, FACES, ["1.5x", "aligned"])
    assert report["1.5x"]["auc"] == pytest.approx(5 / 6)
    assert report["aligned"]["auc"] == pytest.approx(1 / 6)


def test_each_source_by_itself() -> None:
    undecided = {"source": "b", "verdict": "undecided", "score": 0.4}
    faces = pd.concat([FACES, table_of(undecided, SWAP | {"source": "b"}, {"source": "c"})])
    report = by_source(SLICER, faces, NOBODY.assign(source="b"))
    assert list(report) == ["a", "b", "c"]
    assert report["a"] == {
        "in_training": 0,
        "n_real": 3,
        "n_fake": 2,
        "auc": pytest.approx(5 / 6),
        "fpr": pytest.approx(1 / 3),
        "recall": 0.5,
        "undecided": 0.0,
    }
    assert (report["b"]["in_training"], report["b"]["auc"]) == (1, 1.0)
    assert (report["b"]["fpr"], report["b"]["undecided"]) == (0.0, 0.5)
    assert (report["c"]["auc"], report["c"]["recall"], report["c"]["fpr"]) == (None, None, 0.0)


def test_faces_with_and_without_surroundings() -> None:
    shares = [0.5, 0.5, 0.2, 0.2, 0.5]
    report = by_surroundings(SLICER, FACES.assign(surroundings=shares), 0.5)
    assert (report["open"]["n_real"], report["open"]["n_fake"]) == (2, 1)
    assert (report["tight"]["n_real"], report["tight"]["n_fake"]) == (1, 1)
    assert report["tight"]["auc"] == 1.0
    nothing = by_surroundings(SLICER, FACES, 0.5)["tight"]
    assert (nothing["auc"], nothing["reason"]) == (None, "no such face in the test split")


def test_thresholds_and_verdicts() -> None:
    assert by_threshold(SLICER.thresholds, FACES)["low_fpr"]["recall"] == 0.5
    assert by_verdict(FACES)["real"] == {
        "real": pytest.approx(2 / 3),
        "suspicious": 0.0,
        "fake": pytest.approx(1 / 3),
        "undecided": 0.0,
    }
    assert by_verdict(FACES.iloc[:3])["fake"]["real"] is None


def test_coverage_counts_what_was_left_out_of_the_same_videos() -> None:
    skipped = pd.DataFrame(
        {"video_id": ["v0", "v0", "other"], "reason": ["no_face", "face_too_small", "decode_error"]}
    )
    found = coverage(FACES, skipped)
    assert found["coverage"] == pytest.approx(5 / 7)
    assert found["left_out_elsewhere"] == 1
    assert found["reasons"] == {"face_too_small": 1, "no_face": 1}
    assert coverage(FACES, skipped.iloc[:0])["coverage"] == 1.0


def test_intervals_repeat_themselves() -> None:
    compressed = FACES[FACES["label"] == 0]
    assert headline(SLICER, FACES, compressed) == headline(SLICER, FACES, compressed)
    assert np.isfinite(headline(SLICER, FACES, compressed)["auc_low"])
