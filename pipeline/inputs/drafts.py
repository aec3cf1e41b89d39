"""Rows of the data root before their files are hashed, and faults found in them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.labels import FAKE, REAL, FakeType
from pipeline.core.manifest import parse_user_rows
from pipeline.runtime.errors import ManifestError

NAMES_SHOWN = 5


@dataclass
class Findings:
    """Lines to report. faults: errors, any of which stops the stage. warnings: non-fatal.

    notes: what was recognised.
    """

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """Values of a future row, before its file is hashed. where: its location in error messages.

    stated: columns that the user's tables state, as opposed to derived ones. tags: values by tag.
    source_video: video_id of a video that shows the inserted person, "" if unknown.
    """

    where: str
    values: dict[str, Any]
    stated: set[str] = field(default_factory=set)
    tags: Mapping[str, str] = field(default_factory=dict)
    source_video: str = ""

    @property
    def is_fake(self) -> bool:
        return bool(self.values["label"] == FAKE)


def labels_of(fake_type: FakeType) -> dict[str, Any]:
    """The columns that follow from a fake_type."""
    return {
        "label": REAL if fake_type == "real" else FAKE,
        "fake_type": fake_type,
        "is_inswapper": int(fake_type == "inswapper"),
    }


def stated_type(label: int | None, fake_type: str, folder: FakeType = "real") -> FakeType:
    """fake_type of a table's row. folder: that of the file's folder, for empty cells."""
    if fake_type:
        return fake_type  # type: ignore[return-value]
    if label is None or (label == REAL) == (folder == "real"):
        return folder
    return "real" if label == REAL else "other"


def label_fault(where: str, label: int | None, fake_type: str) -> list[str]:
    """The fault of a row whose label and fake_type contradict each other."""
    if label is None or not fake_type or (fake_type == "real") == (label == REAL):
        return []
    expected = "real or an empty cell" if label == REAL else "the tool that made the fake"
    return [f"{where}: fake_type: {fake_type!r} contradicts label {label}; expected {expected}"]


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
    """Rows of a user's CSV by row number as in a spreadsheet; faults are added to the findings."""
    try:
        rows, faults = parse_user_rows(path, model)
    except ManifestError as error:
        rows, faults = {}, [str(error)]
    findings.faults += faults
    return rows


def listed(names: Sequence[str]) -> str:
    """The first names, followed by the number of the others."""
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN]) if more > 1 else ", ".join(names)
    return f"{shown} and {more} more" if more > 1 else shown
