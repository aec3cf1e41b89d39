"""Identities of the people shown: identities.csv, inheritance, and one spelling per name."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.core.manifest import Name, Row
from pipeline.inputs.drafts import Draft, Findings, listed, parsed


class IdentityEntry(Row):
    """One line of identities.csv. video_id: as in the manifests; of a fake, `<folder>/<name>`."""

    video_id: Name
    identity_id: str = ""
    source_identity_id: str = ""


def settle_people(table: Path, drafts: Sequence[Draft], findings: Findings) -> None:
    """Fill in the identities of all drafts. table: path of identities.csv, which is optional.

    identities.csv overrules everything else. A draft whose identity is not stated has that of its
    original. Names that differ only in case, blanks or Unicode form are one name.
    """
    by_id = {str(draft.values["video_id"]): draft for draft in drafts}
    if table.exists():
        _read_identities(table, by_id, findings)
    people = [_person(draft, by_id) for draft in drafts]
    for draft, person in zip(drafts, people, strict=True):
        draft.values["identity_id"] = person
    for draft in drafts:
        if draft.source_video and "source_identity_id" not in draft.stated:
            draft.values["source_identity_id"] = by_id[draft.source_video].values["identity_id"]
        original = by_id.get(str(draft.values.get("original_video_id", "")))
        if draft.is_fake and original and "source" not in draft.stated:
            draft.values["source"] = original.values["source"]
    _spell_alike(drafts, ("identity_id", "source_identity_id"), "person", findings)
    _spell_alike(drafts, ("source",), "source", findings)


def _read_identities(path: Path, by_id: Mapping[str, Draft], findings: Findings) -> None:
    known = {video_id.strip(): draft for video_id, draft in by_id.items()}
    seen: set[str] = set()
    for number, entry in parsed(path, IdentityEntry, findings).items():
        where = f"{path}: row {number}: video_id: {entry.video_id!r}"
        if entry.video_id not in known:
            findings.faults.append(
                f"{where} is not among the inputs; expected the name of an original,"
                " inswapper/NAME or uniface/NAME, or the video_id of an image"
            )
            continue
        if entry.video_id in seen:
            findings.faults.append(f"{where} duplicates an earlier row")
        seen.add(entry.video_id)
        draft = known[entry.video_id]
        for column in ("identity_id", "source_identity_id"):
            if value := getattr(entry, column):
                draft.values[column] = value
                draft.stated.add(column)


def _person(draft: Draft, by_id: Mapping[str, Draft]) -> str:
    """The stated identity of the draft, or else that of its original, if there is one."""
    seen = set()
    while "identity_id" not in draft.stated and id(draft) not in seen:
        seen.add(id(draft))
        draft = by_id.get(str(draft.values.get("original_video_id", "")), draft)
    return str(draft.values["identity_id"])


def _spell_alike(
    drafts: Sequence[Draft], columns: Sequence[str], kind: str, findings: Findings
) -> None:
    """Give names that are equal up to case, blanks and Unicode form the first one's spelling."""
    spellings: dict[str, dict[str, str]] = {}
    for draft in drafts:
        for column in columns:
            if name := str(draft.values.get(column, "")):
                spellings.setdefault(_key(name), {}).setdefault(name, draft.where)
    used = {key: next(iter(found)).strip() for key, found in spellings.items()}
    for draft in drafts:
        for column in columns:
            if name := str(draft.values.get(column, "")):
                draft.values[column] = used[_key(name)]
    findings.warnings += [
        f"{kind} {used[key]!r} is spelled in {len(found)} ways, which count as one:"
        f" {listed([f'{name!r} ({where})' for name, where in found.items()])}"
        for key, found in spellings.items()
        if len(found) > 1
    ]


def _key(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
