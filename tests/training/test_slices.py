import numpy as np
import pandas as pd
import pytest

from pipeline.decision.thresholds import Thresholds
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.evaluation.slices import (
    Slicer,
    by_face_size,
    by_generator,
    by_skin_tone,
    by_source,
    by_surroundings,
    by_tag,
    by_threshold,
    by_verdict,
    by_view,
    coverage,
    headline,
    six_reports,
)
from pipeline.training.scoring.headline import auc, flagged

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
        "original_video_id": "",
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
    found = SLICER.interval("recall", flagged(FACES.iloc[:0]))
    assert found == {
        "recall": None,
        "recall_low": None,
        "recall_high": None,
        "reason": "no such faces in this split",
    }


def test_an_interval_holds_its_number() -> None:
    found = SLICER.interval("auc", auc(FACES))
    assert found["auc_low"] <= found["auc"] <= found["auc_high"]


def test_flagged_are_those_that_the_product_calls_fake() -> None:
    """Not those above a threshold: a face that fills the image has limits of its own."""
    undecided = FACES.assign(verdict="undecided", called=0.0)
    assert flagged(undecided).value() == 0.0
    assert flagged(FACES).value() == pytest.approx(2 / 5)


def test_headline_numbers_and_the_reason_of_missing_ones() -> None:
    compressed = FACES[FACES["label"] == 0].assign(called=[1.0, 1.0, 0.0])
    found = headline(SLICER, FACES, compressed)
    assert found["inswapper_recall"] == 0.5
    assert found["fpr"] == pytest.approx(1 / 3)
    assert found["compressed_fpr"] == pytest.approx(2 / 3)
    assert (found["groups_real"], found["groups_fake"]) == (3, 2)
    assert found["reason"] == "uniface_recall: no such faces in this split"
    for name in ("uniface_recall", "uniface_recall_low", "uniface_recall_high"):
        assert found[name] is None
    reals = FACES[FACES["label"] == 0]
    lacking = headline(SLICER, reals, compressed)
    assert lacking["auc"] is None
    assert "; auc: both classes are needed" in f"; {lacking['reason']}"
    assert "inswapper_recall: no such faces in this split" in lacking["reason"]


@pytest.mark.parametrize(("called", "within"), [([1.0, 1.0, 0.0], 1), ([1.0, 1.0, 1.0], 0)])
def test_compressed_reals_may_be_flagged_at_most_twice_as_often(
    called: list[float], within: int
) -> None:
    compressed = FACES[FACES["label"] == 0].assign(called=called)
    report = six_reports(SLICER, FACES, compressed, NOBODY, PARAMS)["compressed_real"]
    assert report["at_most_twice_clean"] == within
    assert (report["n_real"], report["groups_real"]) == (3, 3)
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
        **{"n_real": 3, "n_fake": 2, "groups_real": 3, "groups_fake": 2},
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


def test_face_sizes_are_classed_by_their_lower_end() -> None:
    faces = table_of({}, SWAP, {}, MISSED).assign(face_px=[95.9, 96.0, 160.0, 300.0])
    report = by_face_size(SLICER, faces)
    assert list(report) == ["<96 px", "96-160 px", "160-256 px", ">=256 px"]
    found = [(part["n_real"], part["n_fake"]) for part in report.values()]
    assert found == [(1, 0), (0, 1), (1, 0), (0, 1)]
    assert [part["recall"] for part in report.values()] == [None, 1.0, None, 0.0]
    assert report["<96 px"]["reason"] == "no fake faces"


def test_a_slice_has_counts_and_intervals() -> None:
    faces = pd.concat([FACES, FACES], ignore_index=True)
    tones = np.array(["tan"] * 5 + ["dark"] * 5)
    report = by_skin_tone(SLICER, faces.assign(score=[*FACES["score"], *[0.5] * 5]), tones)
    tan, dark, light = report["tan"], report["dark"], report["light"]
    assert (tan["groups_real"], tan["groups_fake"], tan["n_real"], tan["n_fake"]) == (3, 2, 3, 2)
    assert (tan["auc"], dark["auc"]) == (pytest.approx(5 / 6), 0.5)
    for name in ("auc", "recall", "fpr"):
        assert tan[f"{name}_low"] <= tan[name] <= tan[f"{name}_high"]
    assert (light["n_real"], light["auc"], light["fpr_low"]) == (0, None, None)
    assert light["reason"] == "no real and no fake faces"
    assert list(report)[-1] == "unknown"


def test_a_fake_without_tags_has_those_of_its_original() -> None:
    faces = table_of(
        {"video_id": "a"},
        {"video_id": "b"},
        SWAP | {"video_id": "fake_a", "original_video_id": "a"},
        SWAP | {"video_id": "fake_b", "original_video_id": "b"},
        {"video_id": "c", "original_video_id": "a"},  # a real never inherits
    )
    rows = [("a", "light", "dark"), ("b", "light", "bright"), ("fake_b", "camera", "phone")]
    tags = pd.DataFrame([*rows, ("x", "light", "none")], columns=["video_id", "tag", "value"])
    report = by_tag(SLICER, faces, tags)
    found = {name: (part["n_real"], part["n_fake"]) for name, part in report.items()}
    assert found == {
        "camera: phone": (0, 1),
        "light: bright": (1, 0),
        "light: dark": (1, 1),
        "light: none": (0, 0),
    }
    assert by_tag(SLICER, faces, tags.iloc[:0]) == {}


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
