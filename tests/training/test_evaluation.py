"""The whole test report of a small network on drawn faces, from probes to the page."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.core.files import to_json
from pipeline.core.manifest import SkipRow, SplitRow, TagRow, write_rows
from pipeline.decision.fusion import LearnedFusion
from pipeline.decision.scorer import FaceScorer
from pipeline.media.images import read_image
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.calibration.fit import Calibration
from pipeline.training.evaluation import probes
from pipeline.training.evaluation.evaluate import (
    SAMPLE_NOTE,
    Evaluation,
    Surroundings,
    evaluate,
    headline_lines,
    read_surroundings,
)
from pipeline.training.evaluation.probes import LADDERS, MeasuredSplit, compressed_reals
from pipeline.training.evaluation.report import render_report, write_reports
from pipeline.training.evaluation.worst_mistakes import worst_mistakes, write_mistakes
from pipeline.training.pairs.degradations import DEGRADED_COPIES, jpeg
from pipeline.training.scoring.scorer import torch_network
from tests.support.audits import audit_of
from tests.support.decisions import decision_of, limits_of
from tests.support.face_stores import PREPROCESS, SharpnessNet, drawn_store
from tests.support.reports import report_of
from tests.support.tiny_trees import stump

DECISION = decision_of(limits_of(0.5, 0.55))
LEARNED = LearnedFusion(bias=0.0, real_fake=1.0, inswapper=0.0, boundary=0.0, seam=0.1)
CALIBRATION = Calibration(decision=DECISION, other=DECISION.model_copy(update={"fusion": LEARNED}))
PARAMS = EvaluateParams(
    seed=3, bootstrap=100, compressed_jpeg=50, low_quality_px=96, ladder_faces=4
)


@pytest.fixture(scope="module", autouse=True)
def short_ladders() -> Iterator[None]:
    """Keep only the mildest and harshest level of every ladder."""
    with pytest.MonkeyPatch.context() as patch:
        ends = {name: dict([*steps.items()][::5]) for name, steps in LADDERS.items()}
        patch.setattr(probes, "LADDERS", ends)
        yield


@pytest.fixture(scope="module")
def split() -> MeasuredSplit:
    store = drawn_store(people=3, frames=2, kinds=("inswapper", "uniface"))
    scorer = FaceScorer(torch_network(SharpnessNet().eval()), PREPROCESS, stump())
    return MeasuredSplit(scorer, store, DECISION)


@pytest.fixture(scope="module")
def around() -> Surroundings:
    train = drawn_store(people=2, frames=1).table.assign(identity_id="t", source_identity_id="")
    skipped = pd.DataFrame({"video_id": ["p0"], "reason": ["no_face"]})
    tags = pd.DataFrame({"video_id": ["p0", "p1"], "tag": "light", "value": ["dark", "bright"]})
    return Surroundings(train=train, val=train, skipped=skipped, tags=tags, data_root="data/sample")


@pytest.fixture(scope="module")
def evaluation(split: MeasuredSplit, around: Surroundings) -> Evaluation:
    return evaluate(split, CALIBRATION, around, PARAMS)


def test_the_report_has_every_section(evaluation: Evaluation) -> None:
    report = evaluation.report.to_json()
    assert report["note"] == SAMPLE_NOTE
    assert set(report["report"]) == {
        "clean_real",
        "compressed_real",
        "inswapper",
        "low_quality",
        "unseen_identity",
        "unseen_source",
    }
    assert (report["frame"]["n_real"], report["frame"]["n_fake"]) == (6, 12)
    assert (report["video"]["n_real"], report["video"]["n_fake"]) == (3, 6)
    assert report["report"]["unseen_identity"]["n_real"] == 6
    assert report["report"]["unseen_source"]["auc"] is None  # uniface has no reals of its source
    assert report["fusion"]["active"] == "fixed"
    assert report["coverage"]["coverage"] == pytest.approx(18 / 19)
    assert set(report["view"]) == {"1.1x", "1.5x", "2x", "aligned"}
    assert set(report["source"]) == {"videos", "inswapper", "uniface"}
    assert report["source"]["videos"]["in_training"] == 1
    assert (
        report["source"]["uniface"] | {"n_real": 0, "n_fake": 6, "fpr": None}
        == report["source"]["uniface"]
    )
    assert report["surroundings"]["open"]["n_real"] == 6
    assert report["surroundings"]["tight"]["auc"] is None
    # Of half or a third of these faces too little is left for a verdict.
    measured = {name for name, copy in DEGRADED_COPIES.items() if 100 * copy.size_factor >= 60}
    assert set(report["copies"]) == {"promised", "as_it_is", *measured, "all"}
    assert report["copies"]["as_it_is"]["n_fake"] == 12
    assert report["copies"]["all"]["groups_fake"] == report["frame"]["groups_fake"] == 3
    assert report["headline"]["groups_real"] == report["generator"]["uniface"]["groups_real"] == 3
    tags = {name: (part["n_real"], part["n_fake"]) for name, part in report["tag"].items()}
    assert tags == {"light: bright": (2, 4), "light: dark": (2, 4)}
    for kind in ("face_size", "skin_tone"):
        counts = [(part["n_real"], part["n_fake"]) for part in report[kind].values()]
        assert np.sum(counts, axis=0).tolist() == [6, 12]


def test_the_metrics_for_dvc_are_few_and_flat(evaluation: Evaluation) -> None:
    report, summary = evaluation.report, evaluation.report.summary
    assert len(summary) <= 25
    assert summary["test_set"] == report.test_set
    assert {name: summary[name] for name in report.headline.names} == report.headline.values
    assert (summary["n_real"], summary["groups_fake"]) == (6, 3)
    assert not [value for value in summary.values() if isinstance(value, dict | list)]


def test_warnings_say_what_makes_the_numbers_doubtful(evaluation: Evaluation) -> None:
    """Few people, an empty slice, and a network that flags what is soft."""
    people, source, probe = evaluation.report.warnings
    assert people.startswith(
        "only 3 people with fakes and 3 people with reals in the test split, "
        "2 people with fakes and 2 people with reals in the validation split: numbers are rough"
    )
    assert source == "report unseen source: no AUC: no real faces"
    assert re.fullmatch(
        r"probe only reals blurred is BROKEN: AUC 0\.\d{3}, expected at least 0\.50", probe
    )


def test_all_ladders_have_the_same_number_of_steps(evaluation: Evaluation) -> None:
    found = evaluation.report.to_json()["ladder"]
    assert {name: len(steps) for name, steps in LADDERS.items()} == dict.fromkeys(LADDERS, 6)
    ends = {name: [f"{level:g}" for level in [*LADDERS[name]][::5]] for name in LADDERS}
    assert {name: list(found[name]) for name in LADDERS} == ends
    assert found["blur_px"]["4"]["fpr"] == 1.0  # this network calls everything smooth fake


def test_the_probes_see_through_a_detector_of_softness(evaluation: Evaluation) -> None:
    found = evaluation.report.to_json()["probe"]
    assert found["only_reals_blurred"]["passed"] == 0
    assert found["background_only"]["auc"] == pytest.approx(0.5, abs=0.01)
    assert found["background_only"]["passed"] == 1
    assert found["metadata_only"]["auc"] == pytest.approx(0.5, abs=0.1)
    assert found["permuted_labels"]["auc"] == pytest.approx(0.5, abs=0.06)


def test_a_detector_of_backgrounds_is_caught(split: MeasuredSplit, around: Surroundings) -> None:
    """Swaps with another background: what is around the face gives them away."""
    images = split.store.images
    bright = [
        rgb if label == 0 else np.full_like(rgb, 200)
        for rgb, label in zip(images.contexts, split.labels, strict=True)
    ]
    told = replace(split, store=replace(split.store, images=replace(images, contexts=bright)))
    found = probes.probes(told, np.linspace(0, 1, 18), around.train, 10, 0)
    assert found["background_only"]["auc"] > 0.95
    assert found["background_only"]["passed"] == 0


def test_metadata_that_tells_is_caught(split: MeasuredSplit, around: Surroundings) -> None:
    told = around.train.assign(timestamp_s=around.train["label"] * 9.0)
    faces = split.store.faces.assign(timestamp_s=split.store.faces["label"] * 9.0)
    told_split = replace(split, store=replace(split.store, faces=faces))
    found = probes.probes(told_split, np.linspace(0, 1, 18), told, 10, 0)
    assert found["metadata_only"] == {"auc": 1.0, "at_most": 0.6, "passed": 0}


def test_probes_without_a_class_are_null(split: MeasuredSplit, around: Surroundings) -> None:
    faces = split.store.faces.assign(label=0)
    lacking = replace(split, store=replace(split.store, faces=faces))
    found = probes.probes(lacking, np.zeros(18), around.train, 10, 0)
    assert found == {"auc": None, "reason": "the test split lacks a class"}


def test_compressed_reals_are_the_real_faces_scored_again(
    split: MeasuredSplit, evaluation: Evaluation
) -> None:
    table = compressed_reals(split, evaluation.faces, 50)
    assert (table["label"] == 0).all()
    reals = np.flatnonzero(split.labels == 0)
    assert table["score"].to_numpy() == pytest.approx(split.scores(reals, jpeg(50)))
    assert split.scores(np.array([], dtype=np.int64), jpeg(50)).tolist() == []


@pytest.mark.slow
def test_the_report_repeats_itself(
    split: MeasuredSplit, around: Surroundings, evaluation: Evaluation
) -> None:
    again = evaluate(split, CALIBRATION, around, PARAMS)
    assert to_json(again.report.to_json()) == to_json(evaluation.report.to_json())


def test_headline_lines(evaluation: Evaluation) -> None:
    lines = headline_lines(evaluation.report.headline)
    assert lines.pop(0) == ("6 real faces of 3 people, 12 fake faces of 3 (independent groups)")
    assert lines.pop() == "not defined: within_source_auc: no source has both classes"
    assert [line.split()[0] for line in lines] == [
        *("auc", "within_source_auc", "video_auc", "recall", "inswapper_recall"),
        *("uniface_recall", "video_recall", "fpr", "video_fpr", "compressed_fpr"),
    ]
    assert re.fullmatch(r"auc +[01]\.\d{3}  \([01]\.\d{3} to [01]\.\d{3}\)", lines[0])
    empty = report_of().headline.model_copy(
        update={"auc": None, "auc_low": None, "auc_high": None, "reason": "none"}
    )
    line = "auc               not defined  (not defined to not defined)"
    assert headline_lines(empty)[1] == line


def test_only_wrong_verdicts_are_shown_as_mistakes(
    evaluation: Evaluation, split: MeasuredSplit
) -> None:
    found = worst_mistakes(evaluation, split, count=2)
    wrong = {
        (row.face_id, row.verdict)
        for row in evaluation.faces.itertuples()
        if (row.label == 0) != (row.verdict == "real")
    }
    assert found
    assert {(mistake.name, mistake.verdict) for mistake in found} <= wrong
    videos = [mistake.name.rsplit("/", 1)[0] for mistake in found]
    assert len(set(videos)) == len(videos)


def test_mistakes_become_images_that_repeat_themselves(
    evaluation: Evaluation, split: MeasuredSplit, tmp_path: Path
) -> None:
    found = worst_mistakes(evaluation, split, count=2)
    alarms = sum(mistake.truth == "real" for mistake in found)
    names = {f"false_alarm_{n + 1}.png" for n in range(alarms)}
    names |= {f"missed_fake_{n + 1}.png" for n in range(len(found) - alarms)}
    folder = tmp_path / "mistakes"
    write_mistakes(folder, [replace(found[0], truth="real")] * 9)
    write_mistakes(folder, found)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert first.keys() == names
    write_mistakes(folder, found)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    image = read_image(folder / sorted(names)[0])
    assert image.shape == (160 + 40, 320, 3)
    np.testing.assert_array_equal(image[:160], np.hstack([found[0].crop, found[0].seam]))
    assert 0 < (image[160:] < 128).mean() < 0.2  # dark letters on white


def test_without_mistakes_an_image_says_so(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "mistakes", [])
    assert [path.name for path in (tmp_path / "mistakes").iterdir()] == ["none.png"]


def test_the_page_stands_alone_and_repeats_itself(
    evaluation: Evaluation, split: MeasuredSplit, tmp_path: Path
) -> None:
    mistakes = worst_mistakes(evaluation, split)
    page = render_report(evaluation, mistakes, CALIBRATION, "data/sample", audit_of())
    assert "come from the embedded sample" in page
    assert all(f"<li>{sentence}</li>" in page for sentence in audit_of().sentences())
    for warning in evaluation.report.warnings:
        assert f"<li>{warning}</li>" in page
    assert "6 real faces of 3 groups, 12 fake faces of 3." in page
    for text in ("UniFace recall", "Recall, videos", "light: dark", "96-160 px", "very light"):
        assert text in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) >= 3
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in re.sub(r'src="[^"]*"', "", page)
    figures = [base64.b64decode(s.split(",")[1]) for s in sources if "svg" in s]
    assert not any(b"dc:date" in figure for figure in figures)
    write_reports(tmp_path / "reports", evaluation, split, CALIBRATION, "data", audit_of())
    own = (tmp_path / "reports/test.html").read_text(encoding="utf-8")
    assert re.findall(r'src="([^"]*)"', own) == sources
    assert "embedded sample" not in re.sub(r'src="[^"]*"', "", own)
    shown = list((tmp_path / "reports/mistakes").glob("*.png"))
    assert len(shown) == len(mistakes) == own.count("<figure>")


def test_names_from_the_data_cannot_inject_markup(
    evaluation: Evaluation, split: MeasuredSplit
) -> None:
    evil = replace(worst_mistakes(evaluation, split)[0], name="<script>alert(1)</script>")
    audit = audit_of(exceptions=["identity:<script>"])
    page = render_report(evaluation, [evil], CALIBRATION, "data", audit)
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 2


def test_surroundings_are_read_from_the_data_folder(tmp_path: Path) -> None:
    rows = [
        SplitRow.model_validate({k: v for k, v in row.items() if v == v})  # drop NaN
        for row in drawn_store(people=1, frames=1).table.to_dict("records")
    ]
    write_rows(tmp_path / "splits/train.csv", rows[:3], SplitRow)
    write_rows(tmp_path / "splits/val.csv", rows[3:], SplitRow)
    skip = SkipRow(path="a", video_id="v", stage="crop_faces", reason="no_face")
    write_rows(tmp_path / "manifests/skipped_videos.csv", [], SkipRow)
    write_rows(tmp_path / "manifests/skipped_faces.csv", [skip], SkipRow)
    tag = TagRow(video_id="v", tag="light", value="dark")
    write_rows(tmp_path / "manifests/tags.csv", [tag], TagRow)
    found = read_surroundings(tmp_path, "data")
    assert (len(found.train), len(found.val), len(found.seen)) == (3, 3, 6)
    assert found.tags.to_dict("records") == [tag.model_dump()]
    assert found.skipped["reason"].tolist() == ["no_face"]
