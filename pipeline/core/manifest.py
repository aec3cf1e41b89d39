"""CSV manifests: one row model per file, validated when read and reproducible when written.

The files with a row per crop are read as tables (pipeline.core.tables), from the same models.

Paths in a manifest are relative to the repository's root, with forward slashes. An empty cell means
"unknown" or "not applicable".
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.files import replacing
from pipeline.core.labels import BoundarySource, FakeType
from pipeline.runtime.errors import ManifestError

Label = Literal[0, 1]
UnknownableLabel = Literal[-1, 0, 1]
Name = Annotated[str, Field(min_length=1)]
Pixels = Annotated[float, Field(allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, lt=2**63)]
TAG = "tag_"


class Row(BaseModel):
    """Base of all manifest rows: frozen, rejects unknown columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Origin(Row):
    """Columns that every manifest repeats: the people shown and how the image was made.

    video_id is unique within the manifest; for a still image it names the image.
    identity_id: the person filmed or photographed (the target of a swap). source_identity_id: the
    person whose face was inserted, empty if none or unknown. original_video_id: the real video or
    image that a fake was made from, empty if unknown. source_photo: the photograph whose face was
    inserted, empty if unknown; never an identity, because one photograph serves many swaps.
    """

    video_id: Name
    source: Name
    label: Label
    fake_type: FakeType
    is_inswapper: Label
    identity_id: Name
    source_identity_id: str = ""
    original_video_id: str = ""
    source_photo: str = ""


class InputRow(Origin):
    """Row of data/manifests/videos.csv and images.csv. mask_path: paste mask, if there is one."""

    path: Name
    mask_path: str = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TagRow(Row):
    """Row of data/manifests/tags.csv: what the user's tables state in a column tag_<tag>."""

    video_id: Name
    tag: Name
    value: Name


class FrameRow(Origin):
    """Row of data/manifests/raw.csv: an extracted frame. mask_path: paste mask, if known."""

    frame_path: Name
    mask_path: str = ""
    scene: Index
    frame_index: Index
    timestamp_s: Annotated[float, Field(ge=0)]


class CropRow(Origin):
    """Row of data/manifests/crops.csv: one crop of one face at one scale.

    image_path: the frame or still that the crop is cut from, at the box and crop_scale.
    Box and keypoints are in pixels of the frame. The context crop is the frame's region at
    (context_x, context_y), resized by context_scale (<= 1): context = (frame - offset) *
    context_scale. paired: 1 if the original's frame of the same moment shows the same outside the
    faces, 0 if it does not, -1 if there is no such frame. quality_label is derived from face_px
    (longer side of the box), sharpness, blockiness and noise_level (pipeline.views.quality).
    """

    face_id: Name
    crop_scale: Annotated[float, Field(ge=1)]
    image_path: Name
    context_path: Name
    mask_path: str = ""
    context_x: Pixels
    context_y: Pixels
    context_scale: Annotated[float, Field(gt=0, le=1)]
    boundary_label: UnknownableLabel
    boundary_source: BoundarySource
    paired: UnknownableLabel
    quality_label: Literal[0, 1, 2]
    face_px: Pixels
    sharpness: Pixels
    blockiness: Pixels
    noise_level: Pixels
    scene: Index
    frame_index: Index
    timestamp_s: Annotated[float, Field(ge=0)]
    detector: Name
    detector_score: Annotated[float, Field(ge=0, le=1)]
    box_x0: Pixels
    box_y0: Pixels
    box_x1: Pixels
    box_y1: Pixels
    kp0_x: Pixels | None = None
    kp0_y: Pixels | None = None
    kp1_x: Pixels | None = None
    kp1_y: Pixels | None = None
    kp2_x: Pixels | None = None
    kp2_y: Pixels | None = None
    kp3_x: Pixels | None = None
    kp3_y: Pixels | None = None
    kp4_x: Pixels | None = None
    kp4_y: Pixels | None = None


class SplitRow(CropRow):
    """Row of data/splits/*.csv: a crop and the leak-proof group it belongs to."""

    group: Name


class SkipRow(Row):
    """Row of data/manifests/skipped*.csv: a sample that was left out, with the reason."""

    path: Name
    video_id: Name
    stage: Name
    reason: Literal["decode_error", "too_short", "no_face", "face_too_small", "worker_died"]
    detail: str = ""

    def __str__(self) -> str:
        why = f"{self.reason}: {self.detail}" if self.detail else self.reason
        return f"{self.path} ({why})"


RowT = TypeVar("RowT", bound=Row)


def read_rows(path: Path, model: type[RowT]) -> list[RowT]:
    """Read and validate a CSV manifest.

    Raises ManifestError when the file is missing, has the wrong columns or an invalid value. It
    lists all faults, one per line, as `file: row N: column: message`; rows are numbered as in a
    spreadsheet, where the header is row 1.
    """
    rows, faults = parse_rows(path, model)
    if faults:
        raise ManifestError("\n".join(faults))
    return list(rows.values())


def parse_rows(path: Path, model: type[RowT]) -> tuple[dict[int, RowT], list[str]]:
    """Like read_rows, but return valid rows by row number and the faults of all other rows.

    Raises ManifestError when the file is missing, is not CSV text, or has the wrong columns.
    """
    lines = csv_lines(path)
    header = next(lines, [])
    return parse_records(path, header, enumerate(lines, start=2), model)


def parse_user_rows(path: Path, model: type[RowT]) -> tuple[dict[int, RowT], list[str]]:
    """Like parse_rows, for a table written by hand or by a spreadsheet.

    Commas, semicolons or tabs separate the cells, as in the header. Blanks around cells, the case
    of the header, empty rows and empty columns at the end do not count. Columns tag_<name> with a
    value go to the field `tags`, if the model has it.
    """
    header, lines = _user_table(path)
    width = len(header)
    records = (
        (number, cells[:width] if not any(cells[width:]) else cells)
        for number, cells in enumerate(lines, start=2)
        if any(cells)
    )
    return parse_records(path, header, records, model)


def user_columns(path: Path) -> list[str]:
    """Columns of a table as `parse_user_rows` reads them, in their order."""
    return _user_table(path)[0]


def parse_records(
    path: Path, header: list[str], records: Iterable[tuple[int, list[str]]], model: type[RowT]
) -> tuple[dict[int, RowT], list[str]]:
    """Valid rows by row number, and the faults of all other rows, from numbered lists of cells.

    path: file to name in faults. A record without cells is a blank line. Raises ManifestError for
    a wrong header.
    """
    check_header(path, header, model)
    numeric = {name for name in header if column_type(model, name) is not str}
    tags = _tag_columns(header, model)
    rows: dict[int, RowT] = {}
    faults: list[str] = []
    for number, cells in records:
        if not cells:  # a blank line
            continue
        if len(cells) != len(header):
            faults.append(f"{path}: row {number}: expected {len(header)} cells, got {len(cells)}")
            continue
        record = dict(zip(header, cells, strict=True))
        values = {name: _cell(record[name], name in numeric) for name in header if name not in tags}
        if tags:
            values["tags"] = {tags[name]: record[name] for name in tags if record[name]}
        try:
            rows[number] = model.model_validate(values)
        except ValidationError as error:
            faults += [
                f"{path}: row {number}: {fault['loc'][0]}: {fault['msg']}"
                f" (got {record.get(str(fault['loc'][0]))!r})"
                for fault in error.errors()
            ]
    return rows, faults


def write_rows(path: Path, rows: Iterable[Row], model: type[Row]) -> None:
    """Write rows in the given order: columns as declared, floats as %.6g, "\\n" line ends."""
    columns = column_names(model)
    write_records(path, columns, (cell_texts(getattr(row, n) for n in columns) for row in rows))


def write_records(path: Path, header: list[str], records: Iterable[Iterable[Any]]) -> None:
    """Write a header and records of cells as CSV; None becomes an empty cell."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(records)


def cell_texts(values: Iterable[Any]) -> list[Any]:
    """Cells of a row or a column: floats as %.6g, NaN as an empty cell, any other as it is."""
    return [
        (f"{value:.6g}" if value == value else "") if isinstance(value, float) else value
        for value in values
    ]


def csv_lines(
    path: Path, separators: str = ",", content: bytes | None = None
) -> Iterator[list[str]]:
    """Cells of every line, the header first.

    separators: characters that may separate cells; the most frequent one of the first line does.
    content: bytes to read instead of the file; faults still name `path`.
    Raises ManifestError when the file is missing or is not CSV text.
    """
    try:
        binary = path.open("rb") if content is None else io.BytesIO(content)
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as stream:
            separator = max(separators, key=stream.readline().count)
            stream.seek(0)
            yield from csv.reader(stream, strict=True, delimiter=separator)
    except FileNotFoundError:
        raise ManifestError(
            f"{path}: not found; `dvc repro` creates the files that stages read"
        ) from None
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: expected UTF-8 text ({error.reason}); a spreadsheet saves it as `CSV UTF-8`"
        ) from None
    except (OSError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot be read as CSV: {error}") from None


def column_names(model: type[Row]) -> list[str]:
    """The columns of a model's fields, in their order; tags have columns of their own."""
    return [name for name in model.model_fields if name != "tags"]


def column_type(model: type[Row], name: str) -> type:
    """int, float or str: what the cells of a column stand for; str for a column without a field."""
    field = model.model_fields.get(name)
    return _value_type(field.annotation) if field else str


def check_header(path: Path, header: list[str], model: type[Row]) -> None:
    """Raise ManifestError that lists duplicate, missing and unknown columns."""
    if not header:
        raise ManifestError(f"{path}: empty file; expected a header line")
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    missing = sorted(required - set(header))
    known = {*column_names(model), *_tag_columns(header, model)}
    unknown = sorted(set(header) - known)
    repeated = sorted({name for name in header if header.count(name) > 1})
    faults = [f"{path}: duplicate column {name!r}" for name in repeated]
    faults += [f"{path}: column {name!r} is missing" for name in missing]
    faults += [f"{path}: column {name!r} is unknown" for name in unknown]
    if faults:
        raise ManifestError("\n".join(faults))


def _user_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns, and the cells of every other line."""
    lines = [[cell.strip() for cell in cells] for cells in csv_lines(path, ",;\t")]
    header = [name.casefold() for name in lines[0]] if lines else []
    width = max((at for at, name in enumerate(header, start=1) if name), default=0)
    return header[:width], lines[1:]


def _tag_columns(header: list[str], model: type[Row]) -> dict[str, str]:
    """Name of each tag by its column, for models with a field `tags`."""
    if "tags" not in model.model_fields:
        return {}
    return {name: name.removeprefix(TAG) for name in header if name.startswith(TAG) and name != TAG}


def _value_type(annotation: Any) -> type:
    """int, float or str, of an annotation such as Literal[0, 1] or Annotated[float, ...] | None."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return type(parts[0])
    return _value_type(parts[0]) if parts else annotation


def _cell(text: str, numeric: bool) -> Any:
    """A number for validation, None for an empty cell; any other text as it is."""
    if not numeric:
        return text
    if text == "":
        return None
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
