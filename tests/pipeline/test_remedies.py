"""pipeline.splits.remedies: what to correct, and the lines of identities.csv that correct it."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.manifest import SplitRow, read_rows
from pipeline.inputs.people import IdentityEntry
from pipeline.splits.remedies import SHOWN, LeakRow, explain, one_identity_each
from tests.support.audited_splits import audited, clean, copy_of, row
from tests.support.split_rows import tables_of

FAKE: dict[str, Any] = {"label": 1, "fake_type": "inswapper", "is_inswapper": 1}
PATH = "own/inswapper/identities.csv"


def explained(root: Path, splits: dict[str, list[SplitRow]]) -> str:
    """The text, with the data root `own` and the details in `audit`."""
    leaks = audited(splits, root).leaks
    return explain(leaks, tables_of(splits), root / "own", root / "audit").replace(f"{root}/", "")


def lines_to_add(text: str) -> list[str]:
    after = text.splitlines()
    start = next(n for n, line in enumerate(after) if line.startswith("Near-duplicate images"))
    return [line[2:] for line in after[start + 1 :] if line.startswith("  ")]


def entries(root: Path, splits: dict[str, list[SplitRow]]) -> list[tuple[str, str, str]]:
    found = one_identity_each(audited(splits, root).leaks, tables_of(splits))
    return [(e.video_id, e.identity_id, e.source_identity_id) for e in found]


def test_the_text_gives_leaks_lines_and_an_entry(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["val"].append(copy_of(0, tmp_path, "copy", 0))
    assert explained(tmp_path, splits).splitlines() == [
        "audit_splits: leaks between splits: 1, listed in audit/leaks.csv",
        "  near-duplicate (0 of 64 bits differ): train.csv row 2 (train/0) and val.csv row 4"
        " (copy/0)",
        "Near-duplicate images of different people: give all videos of one person one identity_id."
        f" Add these lines to {PATH} (video_id,identity_id; replace lines of the same video_id), or"
        " replace it by audit/identities.csv, the whole corrected file:",
        "  train,copy",
        "An overlap that is no leak (e.g. two people in front of one background): add its entry,"
        " such as 'near-duplicate:train:copy', to audit.allow in params.yaml",
    ]
    (leak,) = read_rows(tmp_path / "audit/leaks.csv", LeakRow)
    assert (leak.kind, leak.first) == ("near-duplicate", "train.csv row 2 (train/0)")
    assert leak.allow == "near-duplicate:train:copy"


def test_a_name_in_two_splits_needs_no_identities(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["test"].append(row(tmp_path, "guest", 7, video_id="train"))
    text = explained(tmp_path, splits)
    assert "`dvc repro --force split_groups`" in text
    assert "identities.csv" not in text
    assert not (tmp_path / "audit/identities.csv").exists()


def test_all_videos_of_a_person_change_and_the_largest_person_keeps_the_name(
    tmp_path: Path,
) -> None:
    splits = clean(tmp_path)
    person = {"identity_id": "b", "group": "b"}
    splits["val"] += [
        copy_of(0, tmp_path, "b1", 0, **person),
        row(tmp_path, "b2", 8, **person),
    ]
    splits["test"].append(copy_of(0, tmp_path, "c1", 0, identity_id="c", group="c"))
    assert entries(tmp_path, splits) == [("c1", "b", ""), ("train", "b", "")]
    splits["train"] += [row(tmp_path, f"more{n}", 9 + n, identity_id="train") for n in range(2)]
    assert entries(tmp_path, splits) == [
        ("b1", "train", ""),
        ("b2", "train", ""),
        ("c1", "train", ""),
    ]


def test_a_fake_takes_its_identity_from_its_original(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    person = {"identity_id": "b", "group": "b"}
    splits["train"] += [row(tmp_path, f"more{n}", 9 + n, identity_id="train") for n in range(3)]
    splits["val"] += [
        copy_of(0, tmp_path, "b", 0, **person),
        row(tmp_path, "inswapper/b", 8, original_video_id="b", **person, **FAKE),
        # Its original is not among the videos.
        row(tmp_path, "inswapper/b2", 13, original_video_id="lost", **person, **FAKE),
    ]
    assert entries(tmp_path, splits) == [("b", "train", ""), ("inswapper/b2", "train", "")]


def test_a_face_that_was_inserted_elsewhere_gets_the_new_name_too(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["train"] += [row(tmp_path, f"more{n}", 9 + n, identity_id="train") for n in range(2)]
    splits["val"] += [
        copy_of(0, tmp_path, "b", 0),
        row(tmp_path, "inswapper/val_b", 8, identity_id="val", source_identity_id="b", **FAKE),
    ]
    assert entries(tmp_path, splits) == [("b", "train", ""), ("inswapper/val_b", "val", "train")]
    text = explained(tmp_path, splits)
    assert "(video_id,identity_id,source_identity_id;" in text
    assert lines_to_add(text) == ["b,train,", "inswapper/val_b,val,train"]


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ("video_id,identity_id\nval,v\ncopy,c\n", "train,copy"),
        ("identity_id,video_id\nv,val\nc,copy\n", "copy,train"),
        ("Video_ID;identity_id\nval; v\ncopy;c\n;\n", "train,copy"),
        ("video_id,identity_id,source_identity_id\nval,v,\ncopy,c,\n", "train,copy,"),
    ],
)
def test_lines_have_the_columns_of_the_file_and_keep_its_others(
    tmp_path: Path, before: str, added: str
) -> None:
    path = tmp_path / PATH
    path.parent.mkdir(parents=True)
    path.write_text(before, encoding="utf-8")
    splits = clean(tmp_path)
    splits["val"].append(copy_of(0, tmp_path, "copy", 0))
    assert lines_to_add(explained(tmp_path, splits)) == [added]
    found = read_rows(tmp_path / "audit/identities.csv", IdentityEntry)
    assert [(e.video_id, e.identity_id) for e in found] == [
        ("val", "v"),
        ("copy", "c"),
        ("train", "copy"),
    ]
    assert path.read_text(encoding="utf-8") == before


def test_the_console_gets_some_lines_and_the_files_all(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    many = SHOWN + 3
    splits["val"] += [copy_of(0, tmp_path, f"copy{n:02}", 0) for n in range(many)]
    text = explained(tmp_path, splits)
    assert text.count("near-duplicate (0 of") == text.count(",copy00") == SHOWN
    assert text.count("  and 3 more") == 2
    assert len(read_rows(tmp_path / "audit/leaks.csv", LeakRow)) == many
    assert len(read_rows(tmp_path / "audit/identities.csv", IdentityEntry)) == many
