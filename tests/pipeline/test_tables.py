"""pipeline.core.tables: the same values, faults and bytes as the rows of pipeline.core.manifest."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.manifest import CropRow, FrameRow, InputRow, Row, read_rows, write_rows
from pipeline.core.tables import LINES, Table, read_table, select, table_of, write_table
from pipeline.runtime.errors import ManifestError
from tests.support.manifest_rows import crop_row, crop_rows
from tests.support.synthetic import SHA256, input_row

HEADER = list(CropRow.model_fields)
# Names, numbers in unusual spellings, and texts that other readers take for numbers or for nothing.
CELLS = st.one_of(
    st.sampled_from(["", " ", "NA", "nan", "null", "None", "inf", "true", "real", "exact", "x"]),
    st.sampled_from(["0", "1", "1.0", "-1", "+1", "01", "1_0", " 1", "1e0", "1e5", "1e400", "0,5"]),
    st.sampled_from(["9007199254740993", "1" + "0" * 19, "1" * 400, "\u0663", "\u00bd"]),
    st.sampled_from(['a "b",\nc', "a\r\nb", "\ufeff"]),
    st.floats().map(repr),
    st.integers().map(str),
    st.text(st.characters(codec="utf-8"), max_size=4),
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Lines of a few crops in which some cells were replaced, and some lines cut or left blank."""
    columns = draw(st.permutations(HEADER)) if draw(st.booleans()) else HEADER
    if draw(st.booleans()):
        columns = [name for name in columns if name not in ("kp0_x", "mask_path")]
    rows = [crop_row(frame_index=number) for number in range(draw(st.integers(0, 4)))]
    lines = [[f"{getattr(row, name)}" for name in columns] for row in rows]
    for _ in range(draw(st.integers(0, 3)) if lines else 0):
        draw(st.sampled_from(lines))[draw(st.integers(0, len(columns) - 1))] = draw(CELLS)
    for line in lines:
        if draw(st.integers(0, 9)) == 0:
            line[draw(st.integers(0, 2)) :] = []
    return [columns, *lines]


def same(read: Table, rows: list[Any], model: type[Row]) -> bool:
    """Whether every value has the type and the value of its row; NaN stands for None."""
    found = {name: column.tolist() for name, column in read.items()}
    expected = {name: [getattr(row, name) for row in rows] for name in model.model_fields}
    for values in expected.values():
        values[:] = [math.nan if value is None else value for value in values]
    return repr(found) == repr(expected)


def outcome(path: Path, model: type[Row], reader: Any) -> Any:
    try:
        return reader(path, model)
    except ManifestError as error:
        return str(error)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_tables_and_rows_agree(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "crops.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(lines)
    rows, table = (outcome(path, CropRow, reader) for reader in (read_rows, read_table))
    if isinstance(rows, str):
        assert table == rows
    else:
        assert same(table, rows, CropRow)


@settings(max_examples=100)
@given(st.lists(st.floats(0, allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_are_exact(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.csv"
    line = dict.fromkeys(FrameRow.model_fields, "") | {
        **dict.fromkeys(("video_id", "source", "identity_id", "frame_path"), "a"),
        **{"fake_type": "real", "label": "0", "is_inswapper": "0", "scene": "0"},
        "frame_index": str(2**63 - 1),
    }
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(line))
        writer.writeheader()
        writer.writerows(line | {"timestamp_s": repr(number)} for number in numbers)
    table = read_table(path, FrameRow)
    assert table["timestamp_s"].tolist() == numbers
    assert set(table["frame_index"].tolist()) == {2**63 - 1}


def test_faults_of_a_long_table_have_the_numbers_of_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "crops.csv"
    write_rows(path, crop_rows(20), CropRow)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 2 * LINES
    for number in (1, LINES, LINES + 1, 2 * LINES + 7):
        lines[number] = lines[number].replace("videos,", ",")
    lines[LINES // 2] = ""
    lines[LINES + 5] += ",extra"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ManifestError) as raised:
        read_table(path, CropRow)
    assert str(raised.value) == outcome(path, CropRow, read_rows)
    assert [line.split(": ")[1:3] for line in str(raised.value).splitlines()] == [
        ["row 2", "source"],
        [f"row {LINES + 1}", "source"],
        [f"row {LINES + 2}", "source"],
        [f"row {LINES + 6}", f"expected {len(HEADER)} cells, got {len(HEADER) + 1}"],
        [f"row {2 * LINES + 8}", "source"],
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfeh",
        b"a,b\n",
        b"video_id,video_id\n",
        ",".join(HEADER).encode() + b'\n"open,1\n',
        ",".join(HEADER).encode() + b"\n\xff\n",
    ],
)
def test_files_that_are_not_manifests(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "crops.csv"
    path.write_bytes(content)
    fault = outcome(path, CropRow, read_table)
    assert isinstance(fault, str)
    assert fault == outcome(path, CropRow, read_rows)
    assert outcome(tmp_path / "none.csv", CropRow, read_table).endswith("that stages read")


def test_a_pattern_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "videos.csv"
    write_rows(path, [input_row()], InputRow)
    assert same(read_table(path, InputRow), [input_row()], InputRow)
    path.write_text(path.read_text(encoding="utf-8").replace(SHA256, "0"), encoding="utf-8")
    assert "row 2: sha256: String should match" in outcome(path, InputRow, read_table)


def test_a_table_is_written_like_its_rows(tmp_path: Path) -> None:
    rows = [
        *crop_rows(20),
        crop_row(kp0_x=None, kp0_y=None, context_x=1 / 3, identity_id='a "b",\nc', face_px=1e-7),
        crop_row(box_x0=-0.0, box_y1=123456789.0, video_id="007", source="ü"),
    ]
    write_rows(tmp_path / "rows.csv", rows, CropRow)
    write_table(tmp_path / "table.csv", table_of(rows, CropRow), CropRow)
    assert (tmp_path / "table.csv").read_bytes() == (tmp_path / "rows.csv").read_bytes()
    read = read_table(tmp_path / "table.csv", CropRow)
    assert read["video_id"][-1] == "007"
    assert math.isnan(read["kp0_x"][-2])


def test_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "crops.csv"
    write_table(path, table_of([], CropRow), CropRow)
    assert path.read_text(encoding="utf-8") == ",".join(HEADER) + "\n"
    table = read_table(path, CropRow)
    assert {name: column.dtype.kind for name, column in table.items()} == {
        name: column.dtype.kind for name, column in table_of(crop_rows(1), CropRow).items()
    }


def test_select_keeps_the_chosen_rows() -> None:
    rows = crop_rows(2)
    chosen = np.arange(len(rows)) % 3 == 0
    assert same(select(table_of(rows, CropRow), chosen), rows[::3], CropRow)
