"""pipeline.training.store.reader: both sources give equal values, and packing is reproducible."""

import hashlib
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime.errors import ManifestError
from pipeline.training.store.packing import pack
from pipeline.training.store.reader import (
    FaceStore,
    open_manifest,
    open_zarr,
    set_digest,
    view_labels,
)
from tests.support.packed_split import PREPROCESS, packed_split, write_split
from tests.support.synthetic import draw_face


def test_zarr_and_manifest_give_equal_values(tmp_path: Path) -> None:
    packed = packed_split(tmp_path)
    files = open_manifest(tmp_path / "split.csv", PREPROCESS)
    assert packed.table.equals(files.table)
    assert packed.faces.equals(files.faces)
    for row in range(len(files.table)):
        np.testing.assert_array_equal(packed.crops(row), files.crops(row))
    for face in range(len(files.faces)):
        np.testing.assert_array_equal(packed.context(face), files.context(face))
        assert packed.context_size(face) == files.context_size(face)
        assert packed.context_size(face) == packed.context(face).shape[:2]
        _same_mask(packed, files, face)


def test_faces_are_numbered_by_first_appearance(tmp_path: Path) -> None:
    store = open_manifest(write_split(tmp_path, people=1, frames=2), PREPROCESS)
    assert list(store.faces["face_id"]) == [
        "p0/000000",
        "inswapper/p0/000000",
        "p0/000001",
        "inswapper/p0/000001",
    ]
    np.testing.assert_array_equal(store.face_of_crop, np.repeat(np.arange(4), 3))
    np.testing.assert_array_equal(store.crops_of(2), [6, 7, 8])


def test_the_crops_of_a_face_may_be_anywhere(tmp_path: Path) -> None:
    path = write_split(tmp_path, people=1, frames=1)
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *rows[::2], *rows[1::2]]) + "\n", encoding="utf-8")
    store = open_manifest(path, PREPROCESS)
    for face in range(2):
        assert set(store.table["face_id"][store.crops_of(face)]) == {store.faces["face_id"][face]}
        assert len(store.crops_of(face)) == 3
    assert view_labels(store, 1, PREPROCESS) == view_labels(packed_split(tmp_path), 1, PREPROCESS)


def test_a_column_has_the_type_of_its_field(tmp_path: Path) -> None:
    """Whole numbers in a column of measures stay measures."""
    table = open_manifest(write_split(tmp_path, people=1, frames=1), PREPROCESS).table
    assert table["context_x"].dtype == table["kp0_x"].dtype == np.float64
    assert table["label"].dtype == table["frame_index"].dtype == np.int64
    assert table["video_id"].dtype == "str"


def test_box_and_keypoints_are_in_pixels_of_the_context(tmp_path: Path) -> None:
    store = open_manifest(write_split(tmp_path, people=1, frames=1, fakes=False), PREPROCESS)
    drawn = draw_face(0, height=150, width=150, face_px=72, scenery=0)
    keypoints = store.keypoints(0)
    assert keypoints is not None
    np.testing.assert_allclose(store.box(0), drawn.box_xyxy, atol=1e-3)
    np.testing.assert_allclose(keypoints, drawn.keypoints, atol=1e-3)
    cut = PREPROCESS.crop(store.context(0), store.box(0), 1.5)
    np.testing.assert_array_equal(cut, store.crops(1))


def test_a_face_without_keypoints_has_none(tmp_path: Path) -> None:
    path = write_split(tmp_path, people=1, frames=1, fakes=False)
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    for row in rows:
        row[header.index("kp3_x")] = ""
    path.write_text("\n".join(map(",".join, [header, *rows])) + "\n")
    store = open_manifest(path, PREPROCESS)
    assert store.keypoints(0) is None
    assert np.isfinite(store.box(0)).all()


def test_text_stays_text(tmp_path: Path) -> None:
    path = write_split(tmp_path, people=1, frames=1)
    path.write_text(path.read_text().replace(",p0,", ",007,").replace(",p50,", ",NA,"))
    table = open_manifest(path, PREPROCESS).table
    assert set(table["identity_id"]) == {"007"}
    assert set(table["source_identity_id"]) == {"", "NA"}


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_split(tmp_path)
    digests = []
    for name in ("a.zarr", "b.zarr"):
        pack(path, tmp_path / name, PREPROCESS, crops_per_shard=8)
        digests.append(_digest(tmp_path / name))
    assert digests[0] == digests[1]
    assert not list(tmp_path.glob("*.tmp"))


def test_packing_again_replaces_the_old_split(tmp_path: Path) -> None:
    target = tmp_path / "split.zarr"
    pack(write_split(tmp_path / "a", people=2), target, PREPROCESS, crops_per_shard=8)
    pack(write_split(tmp_path / "b", people=1), target, PREPROCESS, crops_per_shard=8)
    assert len(open_zarr(target).faces) == 4


def test_a_split_is_a_few_files(tmp_path: Path) -> None:
    packed_split(tmp_path, people=2, frames=2)
    files = [path for path in (tmp_path / "split.zarr" / "crops").rglob("*") if path.is_file()]
    assert len(files) == 1 + 24 // 8  # metadata and shards of 8 crops


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = packed_split(tmp_path, people=1, frames=1)
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.crops(2), store.crops(2))
    np.testing.assert_array_equal(copy.context(1), store.context(1))


def test_one_error_names_all_missing_files(tmp_path: Path) -> None:
    path = write_split(tmp_path, people=1, frames=1)
    (tmp_path / "frames/p0/000000.png").unlink()
    (tmp_path / "crops/inswapper/p0/000000_mask.png").unlink()
    with pytest.raises(ManifestError, match="row 3: image_path") as raised:
        open_manifest(path, PREPROCESS)
    # The frame of three crops, and the mask of three.
    assert len(str(raised.value).splitlines()) == 6


def test_the_error_for_a_missing_split_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="pack_zarr"):
        open_zarr(tmp_path / "train.zarr")


def test_every_missing_file_is_an_error_that_says_how_to_rebuild(tmp_path: Path) -> None:
    packed_split(tmp_path, people=1, frames=1)
    store = tmp_path / "split.zarr"
    files = [path for path in store.rglob("*") if path.is_file() and path.parent != store]
    arrays = {path.relative_to(store).parts[0] for path in files}
    assert arrays == {"context", "context_hw", "crops", "has_mask", "manifest", "mask"}
    for path in files:
        content = path.read_bytes()
        path.unlink()
        assert faults_of(store) == [f"{path}: not found", REBUILD.format(store)]
        path.write_bytes(content)
    assert len(open_zarr(store).faces) == 2


def test_every_altered_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    packed_split(tmp_path, people=1, frames=1)
    store = tmp_path / "split.zarr"
    for path in [path for path in store.rglob("*") if path.is_file() and path.parent != store]:
        content = path.read_bytes()
        half = len(content) // 2
        path.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
        expected = f"{path}: damaged; its checksum differs"
        assert faults_of(store) == [expected, REBUILD.format(store)]
        path.write_bytes(content[:half])
        expected = f"{path}: {half} bytes; expected {len(content)}"
        assert faults_of(store) == [expected, REBUILD.format(store)]
        path.write_bytes(content)


def test_damaged_metadata_of_the_group_is_an_error(tmp_path: Path) -> None:
    packed_split(tmp_path, people=1, frames=1)
    store = tmp_path / "split.zarr"
    root = store / "zarr.json"
    metadata = json.loads(root.read_text(encoding="utf-8"))
    whole = root.read_text(encoding="utf-8")
    files = metadata["attributes"]["checksums"]
    for text in (
        whole[:100],
        "[]",
        "",
        whole.replace('"zarr_format": 3', '"zarr_format": 7'),
        whole.replace('"group"', '"array"'),
        json.dumps(metadata | {"attributes": {"checksums": [1]}}),
        json.dumps(metadata | {"attributes": {"checksums": {name: [1] for name in files}}}),
    ):
        root.write_text(text, encoding="utf-8")
        lines = faults_of(store)
        assert lines[0].startswith(f"{root}: damaged ("), text
        assert lines[-1] == REBUILD.format(store)


def test_a_group_without_checksums_is_not_a_packed_split(tmp_path: Path) -> None:
    packed_split(tmp_path, people=1, frames=1)
    root = tmp_path / "split.zarr/zarr.json"
    root.write_text(root.read_text(encoding="utf-8").replace("checksums", "others"))
    with pytest.raises(ManifestError, match=r"not a packed split \('checksums'\); run pack_zarr"):
        open_zarr(tmp_path / "split.zarr")


def test_many_missing_files_are_counted(tmp_path: Path) -> None:
    packed_split(tmp_path)
    store = tmp_path / "split.zarr"
    files = [path for path in store.rglob("c/**/*") if path.is_file()]
    for path in files:
        path.unlink()
    lines = faults_of(store)
    assert all(line.endswith(": not found") for line in lines[:5])
    assert lines[5:] == [f"{store}: {len(files) - 5} more files", REBUILD.format(store)]


REBUILD = "{}: rebuild it with `dvc repro --force --single-item pack_zarr@split`"


def faults_of(store: Path) -> list[str]:
    with pytest.raises(ManifestError) as raised:
        open_zarr(store)
    return str(raised.value).splitlines()


def _same_mask(packed: FaceStore, files: FaceStore, face: int) -> None:
    a, b = packed.mask(face), files.mask(face)
    assert (a is None) == (b is None) == (files.faces["label"][face] == 0)
    if a is not None and b is not None:
        np.testing.assert_array_equal(a, b)
        assert 0 < a.max() <= 1


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)
    return hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_set_is_that_of_its_faces(tmp_path: Path) -> None:
    """Order, crops and rounding of another processor do not matter; labels and images do."""
    store = open_manifest(write_split(tmp_path), PREPROCESS)
    digest, faces = set_digest(store), store.faces
    assert re.fullmatch("[0-9a-f]{12}", digest)
    assert set_digest(packed_split(tmp_path / "packed")) == digest
    same = (
        faces.iloc[::-1],
        faces.assign(box_x0=1.0, crop_scale=9.0, image_path="elsewhere.png"),
        faces.assign(sharpness=faces["sharpness"] * (1 + 1e-6)),
    )
    assert {set_digest(replace(store, faces=changed)) for changed in same} == {digest}
    others = (
        faces.iloc[1:],
        faces.assign(label=1 - faces["label"]),
        faces.assign(source="elsewhere"),
        faces.assign(frame_index=faces["frame_index"] + 1),
        faces.assign(sharpness=faces["sharpness"] * 1.5),
    )
    digests = {set_digest(replace(store, faces=changed)) for changed in others}
    assert len(digests - {digest}) == len(others)
