"""pipeline.splits.leaks: overlaps of two splits are found by name and by image."""

import re
from pathlib import Path

import pytest

from pipeline.core.audit import read_audit
from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow, write_rows
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.sections import AuditParams
from pipeline.splits import leaks
from pipeline.splits.leaks import KINDS, Audit, result_lines, table_lines
from tests.support.audited_splits import (
    PARAMS,
    allowing,
    audited,
    clean,
    copy_of,
    row,
    write_splits,
)
from tests.support.stage_runs import run_stage


def lines(audit: Audit) -> list[str]:
    return result_lines(audit, audit.report(4), SPLITS)


def test_splits_without_overlaps_give_no_findings(tmp_path: Path) -> None:
    audit = audited(clean(tmp_path), tmp_path)
    assert (audit.leaks, audit.allowed, audit.unused) == ([], [], [])
    assert audit.within["identity"] == {"train": 1, "val": 1, "test": 1}
    assert audit.within["near-duplicate"] == {"train": 0, "val": 0, "test": 0}
    assert lines(audit)[-2:] == [
        "0 of 0 source photos are in two splits",
        "no leaks between splits",
    ]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("identity", {"identity_id": "train"}),
        ("source-identity", {"source_identity_id": "train"}),
        ("video", {"video_id": "train"}),
        ("video", {"original_video_id": "train"}),
        ("group", {"group": "train"}),
    ],
)
def test_a_common_name_is_reported_with_both_rows_until_it_is_allowed(
    tmp_path: Path, kind: str, changes: dict[str, str]
) -> None:
    splits = clean(tmp_path)
    splits["test"].append(row(tmp_path, "guest", 7, **changes))
    audit = audited(splits, tmp_path)
    (found,) = audit.leaks
    assert str(found) == (f"{kind} 'train': train.csv row 2 (train/0) and test.csv row 4 (guest/0)")
    assert audit.count_across(kind, "train", "test") == 1
    assert audit.count_across(kind, "val", "test") == 0
    allowed = audited(splits, tmp_path, allowing(found.entries[0]))
    assert (allowed.leaks, allowed.allowed, allowed.unused) == ([], [found], [])
    assert f"allowed: {found}" in lines(allowed)
    assert allowed.count_across(kind, "train", "test") == 1


def test_source_people_may_be_in_two_splits_if_swaps_do_not_link(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["test"].append(row(tmp_path, "guest", 7, source_identity_id="train"))
    splits["val"].append(row(tmp_path, "other", 8, source_identity_id="test"))
    audit = audited(splits, tmp_path, PARAMS, link_sources=False)
    assert (audit.leaks, audit.exceptions, audit.unused) == ([], ["source-identity"], [])
    assert audit.report(4).allowed.source_identity == len(audit.allowed) == 2
    assert lines(audit)[-2] == "allowed: 2 in total"
    splits["test"].append(row(tmp_path, "leak", 9, identity_id="train"))
    (found,) = audited(splits, tmp_path, PARAMS, link_sources=False).leaks
    assert found.kind == "identity"


def test_equal_source_identities_are_an_overlap(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    for number, split in enumerate(("val", "test")):
        splits[split].append(row(tmp_path, f"fake{number}", 8 + number, source_identity_id="donor"))
    (found,) = audited(splits, tmp_path).leaks
    assert (found.kind, found.what, found.first.number, found.second.number) == (
        *("source-identity", "'donor'"),
        *(4, 4),
    )


def test_a_copy_under_another_name_is_found_by_its_image(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["val"].append(copy_of(0, tmp_path, "copy", 0, scale=0.5, jpeg=50))
    (found,) = audited(splits, tmp_path).leaks
    assert found.kind == "near-duplicate"
    assert (found.first.face_id, found.second.face_id) == ("train/0", "copy/0")


def test_the_faces_of_two_videos_are_one_overlap_with_the_nearest_faces(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["val"] += [
        copy_of(0, tmp_path, "copy", 0, scale=0.5, jpeg=20),
        copy_of(0, tmp_path, "copy", 1),
        copy_of(0, tmp_path, "copy", 2),
    ]
    audit = audited(splits, tmp_path, PARAMS.model_copy(update={"near_bits": 10}))
    (found,) = audit.leaks
    assert found.pairs == audit.count_across("near-duplicate", "train", "val") == 3
    assert (found.what, found.second.face_id) == ("(0 of 64 bits differ)", "copy/1")


def test_near_bits_decides_what_is_near(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["val"].append(copy_of(0, tmp_path, "copy", 0, scale=0.5, jpeg=5))
    wide = PARAMS.model_copy(update={"near_bits": 16})
    (found,) = audited(splits, tmp_path, wide).leaks
    bits = int(re.findall(r"\d+", found.what)[0])
    assert bits > 0
    for limit, count in ((bits - 1, 0), (bits, 1)):
        params = PARAMS.model_copy(update={"near_bits": limit})
        assert len(audited(splits, tmp_path, params).leaks) == count


@pytest.mark.parametrize("entry", ["near-duplicate:train:copy", "near-duplicate:copy:train"])
def test_near_duplicates_are_allowed_in_either_order(tmp_path: Path, entry: str) -> None:
    splits = clean(tmp_path)
    splits["val"].append(copy_of(0, tmp_path, "copy", 0))
    audit = audited(splits, tmp_path, allowing(entry))
    report = audit.report(4)
    assert (audit.leaks, audit.unused) == ([], [])
    assert report.exceptions == [entry]
    assert (report.allowed.near_duplicate, report.across.near_duplicate) == (1, 0)


def test_an_entry_that_allows_one_overlap_allows_no_other(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["test"].append(row(tmp_path, "guest", 7, identity_id="train", group="train"))
    audit = audited(splits, tmp_path, allowing("identity:train", "identity:unknown"))
    assert [leak.kind for leak in audit.leaks] == ["group"]
    assert [overlap.kind for overlap in audit.allowed] == ["identity"]
    assert "warning: audit.allow: 'identity:unknown' matches no overlap" in lines(audit)
    assert "no leaks between splits" not in lines(audit)


@pytest.mark.parametrize("kind", KINDS)
def test_params_accept_the_entries_of_every_kind(kind: str) -> None:
    entry = f"{kind}:inswapper/a b:c" if kind == "near-duplicate" else f"{kind}:a b"
    AuditParams(allow=[entry], near_bits=4)


def test_near_duplicate_people_in_one_split_are_counted_but_are_not_leaks(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["train"].append(copy_of(0, tmp_path, "copy", 0))
    # A fake resembles its original by nature, and shows the same person.
    fake = {"identity_id": "val", "group": "val", "original_video_id": "val", "label": 1}
    splits["val"].append(copy_of(1, tmp_path, "fake", 0, **fake))
    audit = audited(splits, tmp_path)
    assert audit.leaks == []
    assert audit.within["near-duplicate"] == {"train": 1, "val": 0, "test": 0}
    assert len(table_lines(audit, SPLITS)) == 1 + len(KINDS) + 1


def test_source_photos_are_counted_and_never_a_leak(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    photos = {"train": ["a", "a", "b", "c"], "val": ["a", "d"], "test": ["a", "c", "e"]}
    for split, names in photos.items():
        splits[split] += [
            row(tmp_path, split, 0, face_id=f"{split}/{n}", source_photo=name)
            for n, name in enumerate(names)
        ]
    audit = audited(splits, tmp_path)
    assert audit.leaks == []
    counted = {"train": 3, "val": 2, "test": 3, "total": 5, "in_two_splits": 2}
    assert audit.report(4).source_photos.model_dump() == counted
    assert audit.count_across("source-photo", "train", "test") == 2
    assert "2 of 5 source photos are in two splits" in lines(audit)


def test_other_processes_give_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = clean(tmp_path)
    splits["val"].append(copy_of(0, tmp_path, "copy", 0))
    alone = audited(splits, tmp_path)
    monkeypatch.setattr(leaks, "FACES_PER_WORKER", 1)
    assert audited(splits, tmp_path, PARAMS, workers=2) == alone
    (tmp_path / "data/crops/val_context.png").unlink()
    with pytest.raises(ManifestError, match=r"val\.csv row 2 .*val_context\.png is not a readable"):
        audited(splits, tmp_path, PARAMS, workers=2)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    (tmp_path / "data/crops/val_context.png").unlink()
    with pytest.raises(ManifestError, match=r"val\.csv row 2 .*val_context\.png is not a readable"):
        audited(splits, tmp_path)


def test_the_stage_writes_its_report_only_if_there_is_no_leak(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    write_splits(tmp_path, splits)
    done = run_stage(tmp_path, "audit_splits")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.startswith("audit_splits: ") for line in done.stdout.splitlines())
    assert read_audit(tmp_path / "metrics/audit.json").exceptions == []
    first = (tmp_path / "metrics/audit.json").read_bytes()

    splits["test"].append(row(tmp_path, "guest", 7, identity_id="val"))
    write_rows(tmp_path / "data/splits/test.csv", splits["test"], SplitRow)
    done = run_stage(tmp_path, "audit_splits")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "val.csv row 2 (val/0) and test.csv row 4 (guest/0)" in done.stderr
    assert not (tmp_path / "metrics/audit.json").exists()
    assert (tmp_path / "data/audit/leaks.csv").exists()

    write_splits(tmp_path, splits, allow=["identity:val"])
    done = run_stage(tmp_path, "audit_splits")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "data/audit").exists()
    report = read_audit(tmp_path / "metrics/audit.json")
    assert (report.exceptions, report.allowed.identity) == (["identity:val"], 1)
    assert (tmp_path / "metrics/audit.json").read_bytes() != first
    assert str(tmp_path) not in (tmp_path / "metrics/audit.json").read_text()
