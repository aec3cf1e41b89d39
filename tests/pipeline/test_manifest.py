"""pipeline.core.manifest: round trips through CSV; every fault names file, row and column."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.manifest import (
    CropRow,
    FrameRow,
    InputRow,
    Row,
    SkipRow,
    parse_rows,
    read_rows,
    write_rows,
)
from pipeline.runtime.errors import ManifestError
from tests.support.manifest_rows import crop_row, crop_rows
from tests.support.synthetic import SHA256, frame_row, input_row

HEADER = (
    "video_id,source,label,fake_type,is_inswapper,identity_id,source_identity_id,"
    "original_video_id,source_photo,frame_path,mask_path,scene,frame_index,timestamp_s"
)
GOOD = "a,real,0,real,0,a,,,,data/frames/a/000_000001.png,,0,1,0.04"


class Note(Row):
    """Text columns only, for round trips of arbitrary text."""

    name: str
    text: str


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def faults_of(path: Path, model: type[Row] = FrameRow) -> list[str]:
    with pytest.raises(ManifestError) as raised:
        read_rows(path, model)
    return str(raised.value).replace(f"{path}: ", "").splitlines()


def test_crop_rows_round_trip(tmp_path: Path) -> None:
    rows = [*crop_rows(2), crop_row(kp0_x=None, kp0_y=None, boundary_label=-1)]
    write_rows(tmp_path / "new" / "crops.csv", rows, CropRow)
    assert read_rows(tmp_path / "new" / "crops.csv", CropRow) == rows


def test_bytes_written(tmp_path: Path) -> None:
    rows = [frame_row(timestamp_s=1 / 3, mask_path='a "b",c.png'), frame_row(timestamp_s=1234.5678)]
    write_rows(tmp_path / "raw.csv", rows, FrameRow)
    assert (tmp_path / "raw.csv").read_bytes().decode() == (
        f"{HEADER}\n"
        "p0,videos,0,real,0,p0,,,,data/frames/p0/000_000004.png,"
        '"a ""b"",c.png",0,4,0.333333\n'
        "p0,videos,0,real,0,p0,,,,data/frames/p0/000_000004.png,,0,4,1234.57\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["raw.csv"]


def test_no_rows_give_only_a_header(tmp_path: Path) -> None:
    write_rows(tmp_path / "skipped.csv", [], SkipRow)
    assert (tmp_path / "skipped.csv").read_text() == "path,video_id,stage,reason,detail\n"
    assert read_rows(tmp_path / "skipped.csv", SkipRow) == []


# list_inputs rejects control characters; csv cannot represent a bare "\r".
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"))


@settings(max_examples=40)
@given(st.lists(st.tuples(TEXT, TEXT)))
def test_any_text_round_trips(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    rows = [Note(name=name, text=text) for name, text in pairs]
    path = tmp_path_factory.getbasetemp() / "notes.csv"
    write_rows(path, rows, Note)
    assert read_rows(path, Note) == rows


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    path = written(tmp_path / "raw.csv", GOOD.replace("a,real,0,real,0,a", "007,real,0,real,0,1e3"))
    (row,) = read_rows(path, FrameRow)
    assert (row.video_id, row.identity_id) == ("007", "1e3")


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "raw.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD}\r\n".encode())
    assert read_rows(path, FrameRow)[0].frame_index == 1


def test_columns_in_another_order_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "skipped.csv"
    path.write_text("reason,stage,video_id,path\nno_face,crop_faces,a,a.png\n")
    (row,) = read_rows(path, SkipRow)
    assert (row.path, row.reason, row.detail) == ("a.png", "no_face", "")


def test_all_faults_with_spreadsheet_rows(tmp_path: Path) -> None:
    path = written(
        tmp_path / "raw.csv",
        GOOD,
        "",
        GOOD.replace("a,real,0", "a,real,2").replace("0.04", "soon"),
        GOOD + ",extra",
        GOOD.replace("a,real,0,real", ",real,0,genuine"),
    )
    assert faults_of(path) == [
        "row 4: label: Input should be 0 or 1 (got '2')",
        "row 4: timestamp_s: Input should be a valid number, unable to parse string as a number"
        " (got 'soon')",
        "row 5: expected 14 cells, got 15",
        "row 6: video_id: String should have at least 1 character (got '')",
        "row 6: fake_type: Input should be 'real', 'inswapper', 'uniface', 'pseudo' or 'other'"
        " (got 'genuine')",
    ]


def test_parse_rows_returns_the_valid_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "raw.csv", GOOD.replace(",0.04", ",x"), GOOD)
    rows, faults = parse_rows(path, FrameRow)
    assert list(rows) == [3]
    assert len(faults) == 1


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "", "-0.1", "0,04"])
def test_invalid_timestamps(tmp_path: Path, text: str) -> None:
    (fault,) = faults_of(written(tmp_path / "raw.csv", GOOD.replace("0.04", f'"{text}"')))
    assert fault.startswith("row 2: timestamp_s: Input should be")


@pytest.mark.parametrize("text", ["1.5", "x", "true", "", "-1"])
def test_invalid_frame_indices(tmp_path: Path, text: str) -> None:
    (fault,) = faults_of(written(tmp_path / "raw.csv", GOOD.replace(",1,0.04", f",{text},0.04")))
    assert fault.startswith("row 2: frame_index: ")


def test_missing_unknown_and_duplicate_columns(tmp_path: Path) -> None:
    path = tmp_path / "raw.csv"
    path.write_text(HEADER.replace("scene", "shot").replace("mask_path", "source") + "\n")
    assert faults_of(path) == [
        "duplicate column 'source'",
        "column 'scene' is missing",
        "column 'shot' is unknown",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty file; expected a header line"),
        (b"\xff\xfeh", "expected UTF-8 text (invalid start byte)"),
        (f'{HEADER}\n"open quote,{GOOD}\n'.encode(), "cannot be read as CSV: unexpected end of"),
    ],
)
def test_files_that_are_not_manifests(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "raw.csv"
    path.write_bytes(content)
    assert faults_of(path)[0].startswith(fault)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "none.csv") == [
        "not found; `dvc repro` creates the files that stages read"
    ]
    assert faults_of(tmp_path)[0].startswith("cannot be read as CSV: ")


def test_rows_are_frozen_and_strict() -> None:
    with pytest.raises(ValueError, match="frozen"):
        frame_row().scene = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="sha256"):
        input_row(sha256=SHA256[1:])
    with pytest.raises(ValueError, match="crop_scale"):
        crop_row(crop_scale=0.9)
    assert isinstance(input_row(), InputRow)
