"""Videos of the data root: their folders, their names and videos.csv."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pipeline.core.labels import FakeType
from pipeline.core.manifest import Label, Name, Row
from pipeline.inputs.conventions import Match, Originals, match_fakes, people_of
from pipeline.inputs.drafts import (
    Draft,
    Findings,
    label_fault,
    labels_of,
    listed,
    name_faults,
    parsed,
    stated_type,
)

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
VIDEO_SOURCE = "videos"
# Folder of all videos in the data root, and its subfolder of real videos.
VIDEOS = "inswapper"
ORIGINALS = "original_videos"
MASKS = "masks"
TABLE = "videos.csv"
FAKES: dict[str, FakeType] = {"inswapper": "inswapper", "uniface": "uniface"}
# Above this fraction of fakes without an original the names were not understood.
MAX_LONE_FRAC: Final = 0.1


class VideoEntry(Row):
    """One line of the user's videos.csv, which overrules folders and file names.

    path: relative to the data root, below its folder inswapper/. An empty cell overrules nothing.
    Columns tag_<name> become slices of the test report.
    """

    path: Name
    label: Label | None = None
    fake_type: Literal["", FakeType] = ""
    video_id: str = ""
    identity_id: str = ""
    original_video_id: str = ""
    source_identity_id: str = ""
    source_photo: str = ""
    source: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


def list_videos(root: Path, findings: Findings) -> list[Draft]:
    """Drafts of the originals by name, of the fakes of each kind by name, then of other videos.

    Other videos are those that only videos.csv names. Faults, warnings and the naming conventions
    that were recognised are added to the findings.
    """
    folder = root / VIDEOS
    originals = _video_files(folder / ORIGINALS, findings)
    drafts = _originals(originals, findings)
    known = Originals(originals)
    for name in FAKES:
        drafts += _fakes(folder / name, known, findings)
    drafts = _overruled(root, drafts, findings)
    _require_originals(folder, drafts, findings)
    ids = Counter(draft.values["video_id"] for draft in drafts)
    for draft in drafts:
        findings.faults += name_faults(draft)
        if ids[draft.values["video_id"]] > 1:
            findings.faults.append(
                f"{draft.where}: video_id: {draft.values['video_id']!r} is that of another video"
            )
    return drafts


def _originals(files: Mapping[str, Path], findings: Findings) -> list[Draft]:
    rule, people = people_of(list(files))
    if files:
        findings.notes.append(f"{ORIGINALS}: {len(files)} videos, people by name: {rule}")
    return [_draft(path, name, "real", identity_id=people[name]) for name, path in files.items()]


def _fakes(folder: Path, originals: Originals, findings: Findings) -> list[Draft]:
    files = _video_files(folder, findings)
    masks = _video_files(folder / MASKS, findings)
    findings.warnings += [
        f"{path}: no video of that name in {folder}; the mask is ignored"
        for name, path in masks.items()
        if name not in files
    ]
    convention, matches = match_fakes(list(files), folder.name, originals)
    if matches:
        findings.notes.append(
            f"{folder.name}: original found for {len(matches)} of {len(files)} fakes"
            f" ({convention.pattern})"
        )
    drafts = []
    for name, path in files.items():
        match = matches.get(name, Match(""))
        draft = _draft(
            path,
            f"{folder.name}/{name}",
            FAKES[folder.name],
            identity_id=match.original or name,
            source_identity_id=match.source_person,
            original_video_id=match.original,
            source_photo=match.source_photo,
            mask_path=masks[name].as_posix() if name in masks else "",
        )
        drafts.append(Draft(draft.where, draft.values, source_video=match.source_video))
    return drafts


def _draft(path: Path, video_id: str, fake_type: FakeType, **values: str) -> Draft:
    own = {"path": path.as_posix(), "video_id": video_id, "source": VIDEO_SOURCE}
    return Draft(str(path), labels_of(fake_type) | own | values)


def _video_files(folder: Path, findings: Findings) -> dict[str, Path]:
    """Videos of a folder and its sub-folders by name, sorted; a missing folder counts as empty.

    The paste masks in its sub-folder `masks` are left out.
    """
    paths = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name) != folder / MASKS
        ]
        paths += [Path(parent, name) for name in names if not name.startswith(".")]
    found: dict[str, Path] = {}
    for path in sorted(paths):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            findings.warnings.append(f"{path}: ignored; videos end with {listed(VIDEO_SUFFIXES)}")
        elif name in found:
            findings.faults.append(
                f"{path}: {found[name].name} has the same name except for the suffix;"
                " rename one of them"
            )
        else:
            found[name] = path
    return found


def _overruled(root: Path, drafts: list[Draft], findings: Findings) -> list[Draft]:
    """The drafts with the values that videos.csv states, and drafts of the videos it adds."""
    table = _table(root, findings)
    if table is None:
        return drafts
    by_path = {Path(draft.values["path"]): index for index, draft in enumerate(drafts)}
    first_row: dict[Path, int] = {}
    changed, renamed = list(drafts), {}
    for number, entry in parsed(table, VideoEntry, findings).items():
        where, path = f"{table}: row {number}", Path(os.path.normpath(root / entry.path))
        findings.faults += label_fault(where, entry.label, entry.fake_type)
        if fault := _path_fault(root, path, first_row.setdefault(path, number), number):
            findings.faults.append(f"{where}: path: {entry.path!r} {fault}")
            continue
        if path not in by_path:
            by_path[path] = len(changed)
            name = path.relative_to(root / VIDEOS).with_suffix("").as_posix()
            changed.append(_draft(path, name, "other", identity_id=name))
        index = by_path[path]
        before = changed[index]
        changed[index] = after = _stated(where, before, entry)
        if after.values["video_id"] != before.values["video_id"]:
            renamed[before.values["video_id"]] = after.values["video_id"]
    for draft in changed:
        if "original_video_id" not in draft.stated:
            old = draft.values.get("original_video_id", "")
            draft.values["original_video_id"] = renamed.get(old, old)
    return [
        replace(draft, source_video=renamed.get(draft.source_video, draft.source_video))
        for draft in changed
    ]


def _table(root: Path, findings: Findings) -> Path | None:
    tracked, untracked = root / VIDEOS / TABLE, root / TABLE
    if not untracked.is_file():
        return tracked if tracked.is_file() else None
    if tracked.is_file():
        findings.faults.append(f"{untracked}: {tracked} exists as well; keep one of them")
    else:
        findings.warnings.append(
            f"{untracked}: `dvc repro` does not notice when this file changes; move it to {tracked}"
        )
    return untracked


def _path_fault(root: Path, path: Path, first_row: int, number: int) -> str:
    if not path.is_file():
        return f"is not a file in {root}"
    if root / VIDEOS not in path.parents:
        return f"is not in {root / VIDEOS}, the folder whose videos DVC tracks; move it there"
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return f"is no video; videos end with {listed(VIDEO_SUFFIXES)}"
    return f"duplicates row {first_row}" if first_row != number else ""


def _stated(where: str, draft: Draft, entry: VideoEntry) -> Draft:
    """A draft with the non-empty cells of its row."""
    columns = (
        "video_id",
        "identity_id",
        "original_video_id",
        "source_identity_id",
        "source_photo",
        "source",
    )
    stated = {name: getattr(entry, name) for name in columns if getattr(entry, name)}
    fake_type = stated_type(entry.label, entry.fake_type, draft.values["fake_type"])
    values = draft.values | labels_of(fake_type) | stated
    if fake_type == "real" and "original_video_id" not in stated:
        values |= {"original_video_id": "", "source_identity_id": "", "source_photo": ""}
    # A stated source person replaces the one that the name tells.
    source_video = "" if "source_identity_id" in stated else draft.source_video
    return Draft(where, values, set(stated), entry.tags, source_video)


def _require_originals(folder: Path, drafts: list[Draft], findings: Findings) -> None:
    """Add a fault if too many fakes have neither an original nor a stated person."""
    fakes = [draft for draft in drafts if draft.is_fake]
    lone = [
        str(draft.values["video_id"])
        for draft in fakes
        if not draft.values.get("original_video_id") and "identity_id" not in draft.stated
    ]
    if len(lone) > MAX_LONE_FRAC * len(fakes):
        findings.faults.append(
            f"{folder}: {len(lone)} of {len(fakes)} fakes have no original in {ORIGINALS}"
            f" ({listed(lone)}). Names that are understood: <original>, <original>_<anything>,"
            " <source>-<original> (roop, FaceFusion), <target id>_<source id>_<clip> (Celeb-DF) and"
            " <folder>_<original>_<n>-<n>_<gender> (RTFS-10k), by one rule per folder. Rename the"
            f" files, or write {folder / TABLE} with the columns path,original_video_id; where the"
            " original is missing, path,identity_id, which keeps each person in one split"
        )
