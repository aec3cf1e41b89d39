"""Videos of the data root: their folders, their originals and identities.csv."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.core.labels import FakeType
from pipeline.core.manifest import Name, Row
from pipeline.inputs.drafts import Draft, Findings, draft_of, listed, name_faults, parsed

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
VIDEO_SOURCE = "videos"
# Folder of all videos in the data root, and its subfolder of real videos.
VIDEOS = "inswapper"
ORIGINALS = "original_videos"
FAKES: dict[str, FakeType] = {"inswapper": "inswapper", "uniface": "uniface"}


class IdentityEntry(Row):
    """One line of identities.csv. video_id: stem of an original, or `<folder>/<stem>` of a fake."""

    video_id: Name
    identity_id: str = ""
    source_identity_id: str = ""


def list_videos(root: Path, findings: Findings) -> list[Draft]:
    """Drafts of the originals by name, then of the fakes of each kind by name.

    Faults and warnings are added to the findings.
    """
    folder = root / VIDEOS
    originals = _video_files(folder / ORIGINALS, findings)
    fakes = {name: _video_files(folder / name, findings) for name in FAKES}
    known = {*originals, *(f"{name}/{stem}" for name, files in fakes.items() for stem in files)}
    identities = _read_identities(folder / "identities.csv", known, findings)
    drafts = [_original(stem, path, identities) for stem, path in originals.items()]
    for name, files in fakes.items():
        masks = _video_files(folder / name / "masks", findings)
        findings.warnings += [
            f"{path}: no video of that name in {folder / name}; the mask is ignored"
            for stem, path in masks.items()
            if stem not in files
        ]
        drafts += [
            _fake(name, stem, path, masks.get(stem), originals, identities)
            for stem, path in files.items()
        ]
    for draft in drafts:
        findings.faults += name_faults(draft)
    return drafts


def match_original(stem: str, originals: Iterable[str]) -> tuple[str, str]:
    """Find a fake's original by its name.

    The name of a fake is that of its original, or begins with it and "_"; the longest match is
    used. Returns (stem of the original, rest of the fake's name), or ("", "") without a match.
    """
    matches = [name for name in originals if stem == name or stem.startswith(f"{name}_")]
    if not matches:
        return "", ""
    original = max(matches, key=len)
    return original, stem[len(original) + 1 :]


def _video_files(folder: Path, findings: Findings) -> dict[str, Path]:
    """Videos of a folder by stem, sorted; a missing folder counts as empty."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            findings.warnings.append(f"{path}: ignored; videos end with {listed(VIDEO_SUFFIXES)}")
        elif path.stem in found:
            findings.faults.append(
                f"{path}: {found[path.stem].name} has the same name except for the suffix;"
                " rename one of them"
            )
        else:
            found[path.stem] = path
    return found


def _read_identities(path: Path, known: set[str], findings: Findings) -> dict[str, IdentityEntry]:
    if not path.exists():
        return {}
    rows = parsed(path, IdentityEntry, findings)
    entries: dict[str, IdentityEntry] = {}
    for number, entry in rows.items():
        if entry.video_id not in known:
            findings.faults.append(
                f"{path}: row {number}: video_id: {entry.video_id!r} is not a video in"
                f" {path.parent}; expected the name of an original, inswapper/NAME or uniface/NAME"
            )
        elif entry.video_id in entries:
            findings.faults.append(
                f"{path}: row {number}: video_id: {entry.video_id!r} duplicates an earlier row"
            )
        entries[entry.video_id] = entry
    return entries


def _original(stem: str, path: Path, identities: dict[str, IdentityEntry]) -> Draft:
    return draft_of(
        path,
        fake_type="real",
        source=VIDEO_SOURCE,
        video_id=stem,
        identity_id=_identity_of(stem, identities),
    )


def _fake(
    folder: str,
    stem: str,
    path: Path,
    mask: Path | None,
    originals: Iterable[str],
    identities: dict[str, IdentityEntry],
) -> Draft:
    original, rest = match_original(stem, originals)
    video_id = f"{folder}/{stem}"
    entry = identities.get(video_id, IdentityEntry(video_id=video_id))
    named_source = _identity_of(rest, identities) if rest in set(originals) else ""
    return draft_of(
        path,
        fake_type=FAKES[folder],
        source=VIDEO_SOURCE,
        video_id=video_id,
        identity_id=entry.identity_id or _identity_of(original or stem, identities),
        source_identity_id=entry.source_identity_id or named_source,
        original_video_id=original,
        mask_path=mask.as_posix() if mask else "",
    )


def _identity_of(stem: str, identities: dict[str, IdentityEntry]) -> str:
    entry = identities.get(stem)
    return (entry.identity_id if entry else "") or stem
