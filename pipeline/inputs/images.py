"""Still images of the data root, listed in images.csv."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from pipeline.core.labels import FakeType
from pipeline.core.manifest import Label, Name, Row
from pipeline.inputs.drafts import (
    Draft,
    Findings,
    label_fault,
    labels_of,
    name_faults,
    parsed,
    stated_type,
)


class ImageEntry(Row):
    """One line of the user's images.csv; paths are absolute or relative to the data root.

    video_id: the video that the image is a frame of, or a name for the image. fake_type: the tool
    that made a fake, default "other". original_video_id: video_id of the real image or video before
    the swap. Columns tag_<name> become slices of the test report.
    """

    path: Name
    label: Label
    source: Name
    video_id: str = ""
    identity_id: str = ""
    fake_type: Literal["", FakeType] = ""
    source_identity_id: str = ""
    original_video_id: str = ""
    source_photo: str = ""
    mask_path: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


def list_images(root: Path, videos: Sequence[Draft], findings: Findings) -> list[Draft]:
    """Drafts of all images, in the order of images.csv; faults are added to the findings.

    videos: drafts of the videos, whose names images may refer to but not use as their own.
    """
    path = root / "images.csv"
    if not path.exists():
        findings.faults.append(
            f"{path}: not found; create it, with only the header line path,label,source if there"
            " are no images (DVC tracks the file)"
        )
        return []
    entries = parsed(path, ImageEntry, findings)
    given = Counter(entry.video_id for entry in entries.values())
    given.update(str(video.values["video_id"]) for video in videos)
    drafts = {}
    for number, entry in entries.items():
        where = f"{path}: row {number}"
        findings.faults += _entry_faults(where, root, entry)
        drafts[number] = _image(where, root, entry, shared=given[entry.video_id] > 1)
        findings.faults += name_faults(drafts[number])
    findings.faults += _repetitions(path, drafts, "path")
    findings.faults += _repetitions(path, drafts, "video_id")
    return list(drafts.values())


def _image(where: str, root: Path, entry: ImageEntry, *, shared: bool) -> Draft:
    """Draft of one image.

    shared: several images have its video_id, as frames of one video do. The file name then makes
    the video_id unique, and the video becomes original_video_id, which keeps its frames in one
    split.
    """
    path = PurePosixPath(entry.path)
    folders = [part for part in path.parent.parts if part not in ("/", "..")]
    own = "/".join([*folders, path.stem])
    video_id = entry.video_id or own
    original = entry.original_video_id
    if entry.video_id and shared:
        video_id = f"{entry.video_id}/{path.stem}"
        original = original or entry.video_id
    values = labels_of(stated_type(entry.label, entry.fake_type)) | {
        "path": _located(root, entry.path).as_posix(),
        "source": entry.source,
        "video_id": video_id,
        "identity_id": entry.identity_id or entry.original_video_id or entry.video_id or own,
        "source_identity_id": entry.source_identity_id,
        "original_video_id": original,
        "source_photo": entry.source_photo,
        "mask_path": _located(root, entry.mask_path).as_posix() if entry.mask_path else "",
    }
    stated = {"source"} | ({"identity_id"} if entry.identity_id else set())
    return Draft(where, values, stated, entry.tags)


def _entry_faults(where: str, root: Path, entry: ImageEntry) -> list[str]:
    faults = label_fault(where, entry.label, entry.fake_type)
    for column, text in (("path", entry.path), ("mask_path", entry.mask_path)):
        if text and not _located(root, text).is_file():
            faults.append(f"{where}: {column}: {text!r} is not a file in {root}")
    return faults


def _located(root: Path, text: str) -> Path:
    path = Path(text)
    return path if path.is_absolute() else root / path


def _repetitions(path: Path, drafts: dict[int, Draft], column: str) -> list[str]:
    first_row: dict[str, int] = {}
    faults = []
    for number, draft in drafts.items():
        value = os.path.normpath(str(draft.values[column]))
        if value in first_row:
            faults.append(
                f"{path}: row {number}: {column}: {draft.values[column]!r} duplicates row"
                f" {first_row[value]}"
            )
        first_row.setdefault(value, number)
    return faults
