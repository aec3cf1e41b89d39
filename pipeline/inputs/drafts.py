"""Rows of the data root before their files are hashed, and what was found wrong with them."""

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
    """One line each. faults: of which any stops the stage; warnings: what only deserves a word."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """A row to be, before its file is hashed. where: how an error calls it."""

    where: str
    values: dict[str, Any]


def draft_of(path: Path, *, fake_type: FakeType, **values: str) -> Draft:
    """The row of a file, with the labels that follow from its fake_type."""
    labels = {
        "label": REAL if fake_type == "real" else FAKE,
        "fake_type": fake_type,
        "is_inswapper": int(fake_type == "inswapper"),
        "path": path.as_posix(),
    }
    return Draft(str(path), labels | values)


def name_faults(draft: Draft) -> list[str]:
    """video_id names folders of frames and crops; control characters break CSV lines."""
    faults = []
    video_id = str(draft.values["video_id"])
    if any(part in ("", ".", "..") for part in video_id.split("/")) or "\\" in video_id:
        faults.append(
            f"{draft.where}: video_id: {video_id!r} cannot name a folder;"
            " expected no empty part, no '..' and no backslash"
        )
    faults += [
        f"{draft.where}: {column}: {value!r} holds a control character"
        for column, value in draft.values.items()
        if re.search(r"[\x00-\x1f\x7f]", str(value))
    ]
    return faults


def parsed(path: Path, model: type[Any], findings: Findings) -> dict[int, Any]:
    """Rows of a CSV by their number as a spreadsheet counts; what is wrong goes to the findings."""
    try:
        rows, faults = parse_rows(path, model)
    except ManifestError as error:
        rows, faults = {}, [str(error)]
    findings.faults += faults
    return rows


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN]) if more > 1 else ", ".join(names)
    return f"{shown} and {more} more" if more > 1 else shown
