"""Manifests with a row per crop as tables: one array per column, a tenth of the memory of rows.

A table has all columns of its row model: int64, float64 with NaN for an empty cell, or str objects.
The row model is the only description of the columns. Cells are validated by pydantic a column at a
time; the few lines with an unusual cell are validated as rows, which words the faults.
"""

from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import numpy as np
from numpy.typing import NDArray
from pydantic import create_model
from pydantic.fields import FieldInfo

from pipeline.core.manifest import (
    Row,
    cell_texts,
    check_header,
    column_names,
    column_type,
    csv_lines,
    parse_records,
    write_records,
)
from pipeline.runtime.errors import ManifestError

Table = dict[str, NDArray[Any]]

# Few enough lines for the processor's cache: 1000 take twice as long per line.
LINES: Final = 128


def read_table(path: Path, model: type[Row], content: bytes | None = None) -> Table:
    """Read and validate a CSV manifest; the same values and faults as `read_rows`.

    model: a row model without tags and without validators of its own. content: bytes to read
    instead of the file; faults still name `path`. Raises ManifestError.
    """
    lines = csv_lines(path, content=content)
    header = next(lines, [])
    check_header(path, header, model)
    columns_of = _column_parser(header, model)
    parts, faults = [table_of([], model)], list[str]()
    for number, records in enumerate(iter(lambda: list(islice(lines, LINES)), [])):
        try:
            parts.append(columns_of(records))
        except ValueError:
            numbered = enumerate(records, start=2 + number * LINES)
            rows, found = parse_records(path, header, numbered, model)
            parts.append(table_of(rows.values(), model))
            faults += found
    if faults:
        raise ManifestError("\n".join(faults))
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}


def write_table(path: Path, table: Table, model: type[Row]) -> None:
    """Write a table as `write_rows` writes its rows."""
    columns = [table[name] for name in column_names(model)]
    parts = (
        [cell_texts(column[start : start + LINES].tolist()) for column in columns]
        for start in range(0, len(columns[0]), LINES)
    )
    records = chain.from_iterable(zip(*part, strict=True) for part in parts)
    write_records(path, column_names(model), records)


def table_of(rows: Iterable[Row], model: type[Row]) -> Table:
    """The rows as a table."""
    rows = list(rows)
    return {
        name: _array([getattr(row, name) for row in rows], column_type(model, name))
        for name in column_names(model)
    }


def select(table: Table, chosen: NDArray[np.bool_]) -> Table:
    """The rows for which `chosen` (n,) is true."""
    return {name: column[chosen] for name, column in table.items()}


def _column_parser(header: list[str], model: type[Row]) -> Callable[[list[list[str]]], Table]:
    """Function that parses lines of cells; it raises ValueError if they are not surely valid."""
    fields: dict[str, Any] = {n: (list[_cells_of(f)], ...) for n, f in model.model_fields.items()}  # type: ignore[misc]
    validator = create_model("Columns", __config__=model.model_config, **fields)
    types = {name: column_type(model, name) for name in column_names(model)}
    optional = {name for name, field in model.model_fields.items() if not field.is_required()}
    numbers = [name for name in header if name in optional and types[name] is not str]
    absent = {name: model.model_fields[name].default for name in optional - set(header)}

    def parse(lines: list[list[str]]) -> Table:
        cells: dict[str, Any] = dict(zip(header, zip(*lines, strict=True), strict=True))
        cells |= {name: [cell or None for cell in cells[name]] for name in numbers}
        cells |= {name: [value] * len(lines) for name, value in absent.items()}
        columns = validator.model_validate(cells)
        return {name: _array(getattr(columns, name), kind) for name, kind in types.items()}

    return parse


def _cells_of(field: FieldInfo) -> Any:
    """Type of a field's cells: pydantic parses numbers, but takes no text for a literal number."""
    if get_origin(field.annotation) is Literal:
        return Literal[*map(str, get_args(field.annotation))]
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _array(values: list[Any], kind: type) -> NDArray[Any]:
    """A column; equal texts become one object, because most names are those of many crops."""
    if kind is not str:
        return np.array(values, np.int64 if kind is int else np.float64)
    texts: dict[str, str] = {}
    return np.array([texts.setdefault(text, text) for text in values], object)
