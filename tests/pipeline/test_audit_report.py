"""pipeline.core.audit: metrics/audit.json is read strictly and told in sentences."""

from pathlib import Path

import pytest

from pipeline.core.audit import read_audit
from pipeline.core.files import write_json
from pipeline.runtime.errors import ManifestError
from tests.support.audits import NONE, audit_of


def test_the_file_is_read_as_written(tmp_path: Path) -> None:
    report = audit_of(exceptions=["group:a"], allowed=NONE | {"group": 1})
    write_json(tmp_path / "audit.json", report.model_dump())
    assert read_audit(tmp_path / "audit.json") == report


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"audit\.json: across: Field required"),
        ("[1", r"audit\.json: \(top level\): Invalid JSON"),
        (None, r"audit\.json: not found; run audit_splits"),
    ],
)
def test_a_missing_or_malformed_file_is_named(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "audit.json").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_audit(tmp_path / "audit.json")


def test_an_audit_without_overlaps_in_sentences() -> None:
    assert audit_of().sentences() == [
        "In two splits: 0 people, 0 source people, 0 videos, 0 groups, 0 pairs of near-duplicate"
        " faces (at most 4 of 64 hash bits differ).",
        "Source photos in two splits: not recorded.",
        "Near-duplicate faces of different people inside one split, pairs: 0 in train, 0 in val,"
        " 0 in test.",
        "Exceptions allowed by audit.allow: none.",
    ]


def test_exceptions_and_shared_photos_in_sentences() -> None:
    photos = {"train": 3, "val": 2, "test": 1, "total": 4, "in_two_splits": 2}
    allowed = NONE | {"group": 1, "near_duplicate": 6}
    exceptions = ["group:a", "near-duplicate:v:w"]
    found = audit_of(source_photos=photos, allowed=allowed, exceptions=exceptions).sentences()
    assert found[1] == "Source photos in two splits: 2 of 4."
    assert found[3] == (
        "Exceptions allowed by audit.allow: group:a, near-duplicate:v:w (overlaps covered: 7)."
    )
