"""Promotion of a bundle, and the released bundle in Git."""

import json
from pathlib import Path

import pytest

from pipeline.bundle.load import SPEC_FILE, load_bundle, read_spec
from pipeline.runtime.errors import BundleError
from pipeline.training.evaluation.evaluate import SAMPLE_ROOT
from pipeline.training.export.release import LICENSE_FILE, MAX_BYTES, release, summary_lines
from tests.support.bundles import file_entry, write_bundle
from tests.support.imports import ROOT

GOOD = {"auc": 0.97, "fpr": 0.01}
RELEASED = ROOT / "data/release"


def exported(folder: Path, **changes: object) -> Path:
    """A bundle with a model card and good numbers."""
    write_bundle(folder, **{"trained_on": "data/photos", "metrics": GOOD, **changes})
    card = b"# tiny\n"
    (folder / "model_card.md").write_bytes(card)
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["files"]["model_card.md"] = file_entry(card)
    (folder / SPEC_FILE).write_text(json.dumps(spec))
    return folder


def test_a_good_bundle_is_promoted_with_its_notes(tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("## Training data\n\nResearch use only.\n")
    target = tmp_path / "release"
    released = release(exported(tmp_path / "export"), target, notes, threads=1)
    assert released.before is None
    assert load_bundle(target, 1).spec == released.spec
    assert "Research use only." in (target / "model_card.md").read_text()
    assert (tmp_path / "export/model_card.md").read_text() == "# tiny\n"


def test_the_next_release_is_compared_with_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "release"
    release(exported(tmp_path / "first"), target, None, threads=1)
    (target / LICENSE_FILE).write_text("Research only.")
    better = exported(tmp_path / "second", metrics={"auc": 0.98, "fpr": 0.0})
    released = release(better, target, None, threads=1)
    assert any("0.980" in line and "before 0.970" in line for line in summary_lines(released))
    assert (target / LICENSE_FILE).read_text() == "Research only."


def test_a_release_of_an_earlier_schema_can_be_replaced(tmp_path: Path) -> None:
    target = exported(tmp_path / "release")
    spec = json.loads((target / SPEC_FILE).read_text())
    (target / SPEC_FILE).write_text(json.dumps(spec | {"schema_version": 1}))
    released = release(exported(tmp_path / "export"), target, None, threads=1)
    assert released.before is None
    assert load_bundle(target, 1).spec == released.spec


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"trained_on": SAMPLE_ROOT}, "embedded sample"),
        ({"metrics": {"auc": 0.8, "fpr": 0.0}}, "metrics.auc: expected 0.9 to 1, got 0.800"),
        ({"metrics": {"auc": 0.99, "fpr": 0.2}}, "metrics.fpr"),
        ({"metrics": {}}, "metrics.auc: expected 0.9 to 1, got not defined"),
    ],
)
def test_a_bundle_that_fails_a_check_replaces_nothing(
    tmp_path: Path, changes: dict[str, object], fault: str
) -> None:
    target = tmp_path / "release"
    release(exported(tmp_path / "first"), target, None, threads=1)
    before = read_spec(target / SPEC_FILE)
    with pytest.raises(BundleError, match=fault):
        release(exported(tmp_path / "second", **changes), target, None, threads=1)
    assert load_bundle(target, 1).spec == before


def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    folder = exported(tmp_path / "export")
    model = folder / "detector.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(BundleError, match="sha256"):
        release(folder, tmp_path / "release", None, threads=1)
    assert not (tmp_path / "release").exists()


def test_the_error_names_missing_notes(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.md: cannot be read"):
        release(exported(tmp_path / "export"), tmp_path / "release", tmp_path / "none.md", 1)


def test_the_bundle_in_git_is_complete() -> None:
    spec = read_spec(RELEASED / SPEC_FILE)
    assert set(spec.models) >= {"fp32"}
    for precision in spec.models:
        load_bundle(RELEASED, 1, precision)  # sha256 of every file, graph, golden outputs
    assert sum(entry.size_bytes for entry in spec.files.values()) <= MAX_BYTES
    assert spec.provenance.trained_on != SAMPLE_ROOT
    listed = {*spec.files, SPEC_FILE, LICENSE_FILE}
    assert {path.name for path in RELEASED.iterdir()} == listed


def test_the_card_in_git_contains_the_terms_and_the_limits() -> None:
    card = (RELEASED / "model_card.md").read_text(encoding="utf-8")
    for word in ("research", "Training data", "Known failures", "interval", "digest"):
        assert word in card, word
