"""pipeline.splits.leaks: overlaps of two splits are found by name and by image."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow, write_rows
from pipeline.runtime.errors import ManifestError
from pipeline.splits.leaks import KINDS, NEAR_BITS, audit_splits, perceptual_hash, table_lines
from tests.support.manifest_rows import crop_row
from tests.support.stage_runs import run_stage
from tests.support.synthetic import draw_face, write_rgb


def row(root: Path, name: str, person: int, **changes: Any) -> SplitRow:
    """A row with its own person, video and group, whose image is below root."""
    context = f"data/crops/{name}_context.png"
    if not (root / context).exists():
        write_rgb(root / context, draw_face(person, face_px=90).rgb)
    origin = {"video_id": name, "identity_id": name, "face_id": f"{name}/0", "group": name}
    crop = crop_row().model_dump() | {"context_path": context} | origin | changes
    return SplitRow.model_validate(crop)


def clean(root: Path) -> dict[str, list[SplitRow]]:
    """One person per split, with two scales of one face."""
    return {
        split: [row(root, split, person, crop_scale=scale) for scale in (1.1, 1.5)]
        for person, split in enumerate(SPLITS)
    }


def test_splits_without_overlaps_give_no_findings(tmp_path: Path) -> None:
    audit = audit_splits(clean(tmp_path), tmp_path)
    assert audit.across == []
    assert audit.within["identity"] == {"train": 1, "val": 1, "test": 1}
    assert audit.within["near-duplicate"] == {"train": 0, "val": 0, "test": 0}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("identity", {"identity_id": "train"}),
        ("source identity", {"source_identity_id": "train"}),
        ("video", {"video_id": "train"}),
        ("video", {"original_video_id": "train"}),
        ("group", {"group": "train"}),
    ],
)
def test_a_common_name_is_reported_with_both_rows(
    tmp_path: Path, kind: str, changes: dict[str, str]
) -> None:
    splits = clean(tmp_path)
    splits["test"].append(row(tmp_path, "guest", 7, **changes))
    audit = audit_splits(splits, tmp_path)
    (found,) = audit.across
    assert str(found) == (f"{kind} 'train': train.csv row 2 (train/0) and test.csv row 4 (guest/0)")
    assert audit.count_across(kind, "train", "test") == 1
    assert audit.count_across(kind, "val", "test") == 0


def test_equal_source_identities_are_an_overlap(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    for number, split in enumerate(("val", "test")):
        splits[split].append(row(tmp_path, f"fake{number}", 8 + number, source_identity_id="donor"))
    (found,) = audit_splits(splits, tmp_path).across
    assert (found.kind, found.what, found.first.row, found.second.row) == (
        *("source identity", "'donor'"),
        *(4, 4),
    )


def test_a_copy_under_another_name_is_found_by_its_image(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    original = draw_face(0, face_px=90).rgb
    small = cv2.resize(original, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 50])
    write_rgb(tmp_path / "data/crops/copy_context.png", cv2.imdecode(coded, cv2.IMREAD_COLOR))
    splits["val"].append(row(tmp_path, "copy", 0))
    (found,) = audit_splits(splits, tmp_path).across
    assert found.kind == "near-duplicate"
    assert (found.first.face_id, found.second.face_id) == ("train/0", "copy/0")


def test_near_duplicates_within_a_split_are_counted_but_are_not_leaks(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    splits["train"].append(row(tmp_path, "copy", 0))
    audit = audit_splits(splits, tmp_path)
    assert audit.across == []
    assert audit.within["near-duplicate"] == {"train": 1, "val": 0, "test": 0}
    assert len(table_lines(audit, SPLITS)) == 1 + len(KINDS)


def test_hashes_of_copies_are_near_and_of_others_far() -> None:
    grey = [cv2.cvtColor(draw_face(p).rgb, cv2.COLOR_RGB2GRAY) for p in range(6)]
    hashes = [perceptual_hash(image) for image in grey]
    brighter = perceptual_hash(np.clip(grey[0].astype(int) + 12, 0, 255).astype(np.uint8))
    assert (hashes[0] ^ brighter).bit_count() <= NEAR_BITS
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > NEAR_BITS


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    splits = clean(tmp_path)
    (tmp_path / "data/crops/val_context.png").unlink()
    with pytest.raises(ManifestError, match=r"val\.csv row 2 .*val_context\.png: not a readable"):
        audit_splits(splits, tmp_path)


@pytest.mark.parametrize("leak", [False, True])
def test_the_command_fails_on_a_leak_and_names_its_rows(tmp_path: Path, leak: bool) -> None:
    splits = clean(tmp_path)
    if leak:
        splits["test"].append(row(tmp_path, "guest", 7, identity_id="val"))
    for name, rows in splits.items():
        write_rows(tmp_path / f"data/splits/{name}.csv", rows, SplitRow)
    done = run_stage(tmp_path, "audit_splits")
    assert done.returncode == int(leak), done.stderr
    assert "near-duplicate" in done.stdout
    assert ("val.csv row 2 (val/0) and test.csv row 4 (guest/0)" in done.stderr) == leak
