"""The data root, read into two manifests: one row a video, one row a still picture.

    <root>/inswapper/original_videos/*.mp4   real videos
    <root>/inswapper/inswapper/*.mp4         INSwapper fakes of them; masks/<stem>.mkv if known
    <root>/inswapper/uniface/*.mp4           UniFace fakes of them; masks/<stem>.mkv if known
    <root>/inswapper/identities.csv          optional: video_id,identity_id[,source_identity_id]
    <root>/images.csv                        path,label,source and optional columns (ImageEntry)

Videos in any other folder are left out on purpose.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pipeline.errors import ManifestError
from pipeline.labels import FAKE, REAL, FakeType
from pipeline.manifest import InputRow, Label, Name, Row, parse_rows

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
VIDEO_SOURCE = "videos"
ORIGINALS = "original_videos"
FAKES: dict[str, FakeType] = {"inswapper": "inswapper", "uniface": "uniface"}
NAMES_SHOWN = 5


class ImageEntry(Row):
    """One line of the user's images.csv; paths are absolute or relative to the data root.

    video_id: the video that the picture is a frame of, or a name of its own. fake_type: what made a
    fake, default "other". original_video_id: video_id of the real picture or video before the swap.
    """

    path: Name
    label: Label
    source: Name
    video_id: str = ""
    identity_id: str = ""
    fake_type: Literal["", "real", "inswapper", "uniface", "pseudo", "other"] = ""
    source_identity_id: str = ""
    original_video_id: str = ""
    mask_path: str = ""


class IdentityEntry(Row):
    """One line of identities.csv. video_id: stem of an original, or `<folder>/<stem>` of a fake."""

    video_id: Name
    identity_id: str = ""
    source_identity_id: str = ""


@dataclass(frozen=True)
class Inputs:
    """Rows in stable order, and what deserves a word without being an error."""

    videos: list[InputRow]
    images: list[InputRow]
    warnings: list[str]


@dataclass
class _Findings:
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Draft:
    """A row to be, before its file is hashed. where: how an error calls it."""

    where: str
    values: dict[str, Any]


def list_inputs(root: Path) -> Inputs:
    """Read the data root; videos by folder and name, pictures in the order of images.csv.

    Raises ManifestError with every fault, one a line: unknown columns, labels that contradict
    fake_type, missing or repeated files, names that clash; and when there is no input at all.
    """
    findings = _Findings()
    videos = _list_videos(root / "inswapper", findings)
    images = _list_images(root, videos, findings)
    if not videos and not images and not findings.faults:
        findings.faults.append(_how_to_start(root))
    _raise_faults(findings)
    rows = [_finished(draft) for draft in [*videos, *images]]
    _check_contents([*videos, *images], rows, findings)
    _raise_faults(findings)
    _warn_of_lone_fakes(rows, findings)
    return Inputs(rows[: len(videos)], rows[len(videos) :], findings.warnings)


def match_original(stem: str, originals: Iterable[str]) -> tuple[str, str]:
    """The original a fake was made from, and what its name says beyond that.

    A fake is named as its original, or begins with that name and "_"; the longest match counts.
    Returns (stem of the original, rest), or ("", "") when nothing matches.
    """
    matches = [name for name in originals if stem == name or stem.startswith(f"{name}_")]
    if not matches:
        return "", ""
    original = max(matches, key=len)
    return original, stem[len(original) + 1 :]


def _raise_faults(findings: _Findings) -> None:
    if findings.faults:
        raise ManifestError("\n".join(findings.faults))


def _how_to_start(root: Path) -> str:
    return (
        f"{root}: holds no input. Put real videos into {root}/inswapper/{ORIGINALS}, INSwapper"
        f" fakes of them into {root}/inswapper/inswapper, UniFace fakes into"
        f" {root}/inswapper/uniface, or list pictures in {root}/images.csv"
    )


def _list_videos(folder: Path, findings: _Findings) -> list[_Draft]:
    originals = _video_files(folder / ORIGINALS, findings)
    fakes = {name: _video_files(folder / name, findings) for name in FAKES}
    known = {*originals, *(f"{name}/{stem}" for name, files in fakes.items() for stem in files)}
    identities = _read_identities(folder / "identities.csv", known, findings)
    drafts = [_original(stem, path, identities) for stem, path in originals.items()]
    for name, files in fakes.items():
        masks = _video_files(folder / name / "masks", findings)
        findings.warnings += [
            f"{path}: no video of that name in {folder / name}; the mask is left out"
            for stem, path in masks.items()
            if stem not in files
        ]
        drafts += [
            _fake(name, stem, path, masks.get(stem), originals, identities)
            for stem, path in files.items()
        ]
    for draft in drafts:
        findings.faults += _name_faults(draft)
    return drafts


def _video_files(folder: Path, findings: _Findings) -> dict[str, Path]:
    """The folder's videos by stem, sorted; an absent folder is an empty one."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            findings.warnings.append(f"{path}: left out; videos end with {_listed(VIDEO_SUFFIXES)}")
        elif path.stem in found:
            findings.faults.append(
                f"{path}: {found[path.stem].name} has the same name but for the ending;"
                " rename one of them"
            )
        else:
            found[path.stem] = path
    return found


def _read_identities(path: Path, known: set[str], findings: _Findings) -> dict[str, IdentityEntry]:
    if not path.exists():
        return {}
    rows = _parsed(path, IdentityEntry, findings)
    entries: dict[str, IdentityEntry] = {}
    for number, entry in rows.items():
        if entry.video_id not in known:
            findings.faults.append(
                f"{path}: row {number}: video_id: {entry.video_id!r} is no video of {path.parent};"
                f" expected the name of an original, or inswapper/NAME or uniface/NAME"
            )
        elif entry.video_id in entries:
            findings.faults.append(
                f"{path}: row {number}: video_id: {entry.video_id!r} stands already above"
            )
        entries[entry.video_id] = entry
    return entries


def _original(stem: str, path: Path, identities: dict[str, IdentityEntry]) -> _Draft:
    return _draft(path, video_id=stem, fake_type="real", identity_id=_identity_of(stem, identities))


def _fake(
    folder: str,
    stem: str,
    path: Path,
    mask: Path | None,
    originals: Iterable[str],
    identities: dict[str, IdentityEntry],
) -> _Draft:
    original, rest = match_original(stem, originals)
    video_id = f"{folder}/{stem}"
    entry = identities.get(video_id, IdentityEntry(video_id=video_id))
    named_source = _identity_of(rest, identities) if rest in set(originals) else ""
    return _draft(
        path,
        video_id=video_id,
        fake_type=FAKES[folder],
        identity_id=entry.identity_id or _identity_of(original or stem, identities),
        source_identity_id=entry.source_identity_id or named_source,
        original_video_id=original,
        mask_path=mask.as_posix() if mask else "",
    )


def _identity_of(stem: str, identities: dict[str, IdentityEntry]) -> str:
    entry = identities.get(stem)
    return (entry.identity_id if entry else "") or stem


def _draft(path: Path, *, fake_type: FakeType, **values: str) -> _Draft:
    labels = {
        "label": REAL if fake_type == "real" else FAKE,
        "fake_type": fake_type,
        "is_inswapper": int(fake_type == "inswapper"),
        "path": path.as_posix(),
    }
    return _Draft(str(path), {"source": VIDEO_SOURCE} | labels | values)


def _list_images(root: Path, videos: Sequence[_Draft], findings: _Findings) -> list[_Draft]:
    path = root / "images.csv"
    if not path.exists():
        findings.faults.append(
            f"{path}: not found; create it, with the header line path,label,source alone when"
            " there are no pictures (DVC tracks the file)"
        )
        return []
    entries = _parsed(path, ImageEntry, findings)
    given = Counter(entry.video_id for entry in entries.values())
    given.update(str(video.values["video_id"]) for video in videos)
    drafts = {}
    for number, entry in entries.items():
        where = f"{path}: row {number}"
        findings.faults += _entry_faults(where, root, entry)
        drafts[number] = _image(where, root, entry, shared=given[entry.video_id] > 1)
        findings.faults += _name_faults(drafts[number])
    _inherit_identities(entries, drafts, videos)
    findings.faults += _repetitions(path, drafts, "path")
    findings.faults += _repetitions(path, drafts, "video_id")
    return list(drafts.values())


def _image(where: str, root: Path, entry: ImageEntry, *, shared: bool) -> _Draft:
    """video_id must be a picture's own: frames of one video are told apart by their file names.

    That video is then kept as original_video_id, so that its frames stay in one split.
    """
    path = PurePosixPath(entry.path)
    folders = [part for part in path.parent.parts if part not in ("/", "..")]
    own = "/".join([*folders, path.stem])
    video_id = entry.video_id or own
    original = entry.original_video_id
    if entry.video_id and shared:
        video_id = f"{entry.video_id}/{path.stem}"
        original = original or entry.video_id
    draft = _draft(
        _located(root, entry.path),
        fake_type=_fake_type(entry),
        source=entry.source,
        video_id=video_id,
        identity_id=entry.identity_id or entry.original_video_id or entry.video_id or own,
        source_identity_id=entry.source_identity_id,
        original_video_id=original,
        mask_path=_located(root, entry.mask_path).as_posix() if entry.mask_path else "",
    )
    return _Draft(where, draft.values)


def _inherit_identities(
    entries: dict[int, ImageEntry], drafts: dict[int, _Draft], videos: Sequence[_Draft]
) -> None:
    """A fake of which nothing else is said shows the person of its original."""
    known = {d.values["video_id"]: d.values["identity_id"] for d in [*videos, *drafts.values()]}
    for number, draft in drafts.items():
        original = draft.values["original_video_id"]
        if not entries[number].identity_id and original in known:
            draft.values["identity_id"] = known[original]


def _fake_type(entry: ImageEntry) -> FakeType:
    return entry.fake_type or ("real" if entry.label == REAL else "other")


def _entry_faults(where: str, root: Path, entry: ImageEntry) -> list[str]:
    faults = []
    if (_fake_type(entry) == "real") != (entry.label == REAL):
        expected = "real or nothing" if entry.label == REAL else "what made the fake"
        faults.append(
            f"{where}: fake_type: {entry.fake_type!r} contradicts label {entry.label};"
            f" expected {expected}"
        )
    for column, text in (("path", entry.path), ("mask_path", entry.mask_path)):
        if text and not _located(root, text).is_file():
            faults.append(f"{where}: {column}: {text!r} is no file of {root}")
    return faults


def _located(root: Path, text: str) -> Path:
    path = Path(text)
    return path if path.is_absolute() else root / path


def _repetitions(path: Path, drafts: dict[int, _Draft], column: str) -> list[str]:
    first_row: dict[str, int] = {}
    faults = []
    for number, draft in drafts.items():
        value = os.path.normpath(str(draft.values[column]))
        if value in first_row:
            faults.append(
                f"{path}: row {number}: {column}: {draft.values[column]!r} stands already in row"
                f" {first_row[value]}"
            )
        first_row.setdefault(value, number)
    return faults


def _name_faults(draft: _Draft) -> list[str]:
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


def _parsed(path: Path, model: type[Any], findings: _Findings) -> dict[int, Any]:
    try:
        rows, faults = parse_rows(path, model)
    except ManifestError as error:
        rows, faults = {}, [str(error)]
    findings.faults += faults
    return rows


def _finished(draft: _Draft) -> InputRow:
    with Path(draft.values["path"]).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return InputRow(**draft.values, sha256=digest)


def _check_contents(
    drafts: Sequence[_Draft], rows: Sequence[InputRow], findings: _Findings
) -> None:
    """The same bytes twice: with two labels a fault, else a picture that may reach two splits."""
    first: dict[str, tuple[str, InputRow]] = {}
    for draft, row in zip(drafts, rows, strict=True):
        where, earlier = first.setdefault(row.sha256, (draft.where, row))
        if earlier is row:
            continue
        if earlier.label != row.label:
            findings.faults.append(
                f"{draft.where}: label: {row.label}, but {where} holds the same file as"
                f" {earlier.label}"
            )
        elif earlier.identity_id != row.identity_id:
            findings.warnings.append(
                f"{draft.where}: the same file as {where}, under another identity_id"
            )


def _warn_of_lone_fakes(rows: Sequence[InputRow], findings: _Findings) -> None:
    known = {row.video_id for row in rows}
    fakes = [row for row in rows if row.label == FAKE]
    lone = [row.video_id for row in fakes if not row.original_video_id]
    if lone:
        findings.warnings.append(f"fakes without an original: {len(lone)} ({_listed(lone)})")
    unknown = [
        row.original_video_id
        for row in fakes
        if row.original_video_id and row.original_video_id not in known
    ]
    if unknown:
        findings.warnings.append(
            f"fakes whose original is not among the inputs: {len(unknown)} ({_listed(unknown)})"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN]) if more > 1 else ", ".join(names)
    return f"{shown} and {more} more" if more > 1 else shown
