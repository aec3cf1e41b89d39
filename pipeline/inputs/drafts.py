"""Rows of the data root before their files are hashed, and faults found in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.labels import FAKE, REAL, FakeType
from pipeline.core.manifest import parse_rows
from pipeline.runtime.errors import ManifestError

NAMES_SHOWN = 5


@dataclass
class Findings:
    """Lines to report. faults: errors, any of which stops the stage. warnings: non-fatal."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """Values of a future row, before its file is hashed. where: its location in error messages."""

    where: str
    values: dict[str, Any]


def draft_of(path: Path, *, fake_type: FakeType, **values: str) -> Draft:
    """Draft of a file's row, with the labels that follow from its fake_type."""
    labels = {
        "label": REAL if fake_type == "real" else FAKE,
        "fake_type": fake_type,
        "is_inswapper": int(fake_type == "inswapper"),
        "path": path.as_posix(),
    }
    return Draft(str(path), labels | values)


def name_faults(draft: Draft) -> list[str]:
    """Faults in the names of a draft.

    video_id must be usable as the name of a folder; control characters would break CSV lines.
    """
    faults = []
    video_id = str(draft.values["video_id"])
    if any(part in ("", ".", "..") for part in video_id.split("/")) or "\\" in video_id:
        faults.append(
            f"{draft.where}: video_id: {video_id!r} is not usable as a folder name;"
            " expected no empty part, no '..' and no backslash"
        )
    faults += [
        f"{draft.where}: {column}: {value!r} contains a control character"
        for column, value in draft.values.items()
        if re.search(r"[\x00-\x1f\x7f]", str(value))
    ]
    return faults


def parsed(path: Path, model: type[Any], findings: Findings) -> dict[int, Any]:
    """Rows of a CSV by row number as in a spreadsheet; faults are added to the findings."""
    try:
        rows, faults = parse_rows(path, model)
    except ManifestError as error:
        rows, faults = {}, [str(error)]
    findings.faults += faults
    return rows


def listed(names: Sequence[str]) -> str:
    """The first names, followed by the number of the others."""
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN]) if more > 1 else ", ".join(names)
    return f"{shown} and {more} more" if more > 1 else shown
