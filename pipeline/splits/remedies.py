"""Corrections for the leaks that the audit found."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.core.components import connected_groups
from pipeline.core.manifest import Row, parse_user_rows, user_columns, write_rows
from pipeline.inputs.people import IdentityEntry
from pipeline.inputs.videos import VIDEOS
from pipeline.splits.leaks import NEAR_DUPLICATE, Overlap, Splits

SHOWN: Final = 20
SOURCE: Final = "source_identity_id"


class LeakRow(Row):
    """Row of data/audit/leaks.csv. allow: the item of audit.allow that allows the overlap."""

    kind: str
    what: str
    pairs: int
    first: str
    second: str
    allow: str


class _People(NamedTuple):
    """The people of a video, and its original."""

    identity_id: str
    source_identity_id: str
    original_video_id: str


def explain(leaks: Sequence[Overlap], splits: Splits, root: Path, folder: Path) -> str:
    """Text for the console: the leaks and what to correct, at most SHOWN lines of each.

    root: the data root. Writes all leaks to <folder>/leaks.csv and, if there are near-duplicates of
    different people, the whole corrected identities.csv to <folder>.
    """
    write_rows(folder / "leaks.csv", [_leak_row(leak) for leak in leaks], LeakRow)
    lines = [f"audit_splits: leaks between splits: {len(leaks)}, listed in {folder}/leaks.csv"]
    lines += _first(list(map(str, leaks)))
    changed = one_identity_each(leaks, splits)
    if changed:
        lines += _identity_lines(changed, root / VIDEOS / "identities.csv", folder)
    if any(leak.kind != NEAR_DUPLICATE for leak in leaks):
        lines.append(
            "A person, a video or a group in two splits: split_groups keeps them in one, so"
            " something else wrote data/splits. Run `dvc repro --force split_groups`, or put both"
            " rows into one split"
        )
    lines.append(
        f"An overlap that is no leak (e.g. two people in front of one background): add its entry,"
        f" such as {leaks[0].entries[0]!r}, to audit.allow in params.yaml"
    )
    return "\n".join(lines)


def one_identity_each(leaks: Sequence[Overlap], splits: Splits) -> list[IdentityEntry]:
    """Lines of identities.csv after which near-duplicate people are one person, by video_id.

    All videos of such people get one identity_id, that of the person with the most videos. A fake
    needs no line of its own where it takes its identity from an original that has one.
    """
    videos: dict[str, _People] = {}
    for table in splits.values():
        for video_id, *names in zip(
            *(table[c] for c in ("video_id", *_People._fields)), strict=True
        ):
            videos.setdefault(video_id, _People(*names))
    renamed = _renamed(leaks, videos)
    entries = []
    for video_id, row in sorted(videos.items()):
        original = videos.get(row.original_video_id, row)
        inherits = original is not row and original.identity_id == row.identity_id
        if row.source_identity_id in renamed or (row.identity_id in renamed and not inherits):
            entries.append(
                IdentityEntry(
                    video_id=video_id,
                    identity_id=renamed.get(row.identity_id, row.identity_id),
                    source_identity_id=renamed.get(row.source_identity_id, row.source_identity_id),
                )
            )
    return entries


def _renamed(leaks: Sequence[Overlap], videos: Mapping[str, _People]) -> dict[str, str]:
    """New identity_id of every near-duplicate person who loses the own one."""
    sizes = Counter(row.identity_id for row in videos.values())
    same = [
        (leak.first.identity_id, leak.second.identity_id)
        for leak in leaks
        if leak.kind == NEAR_DUPLICATE
    ]
    renamed: dict[str, str] = {}
    for people in connected_groups(same):
        kept = min(people, key=lambda person: (-sizes[person], person))
        renamed |= dict.fromkeys(people - {kept}, kept)
    return renamed


def _identity_lines(changed: Sequence[IdentityEntry], path: Path, folder: Path) -> list[str]:
    """Text with the lines to add to identities.csv; writes the whole corrected file."""
    before = parse_user_rows(path, IdentityEntry)[0].values() if path.exists() else ()
    entries = {entry.video_id: entry for entry in [*before, *changed]}
    corrected = folder / path.name
    write_rows(corrected, list(entries.values()), IdentityEntry)
    columns = user_columns(path) if path.exists() else ["video_id", "identity_id"]
    if SOURCE not in columns and any(entry.source_identity_id for entry in changed):
        columns.append(SOURCE)
    return [
        "Near-duplicate images of different people: give all videos of one person one identity_id."
        f" Add these lines to {path} ({','.join(columns)}; replace lines of the same video_id), or"
        f" replace it by {corrected}, the whole corrected file:",
        *_first([_csv_line([getattr(entry, name) for name in columns]) for entry in changed]),
    ]


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _leak_row(leak: Overlap) -> LeakRow:
    return LeakRow(
        kind=leak.kind,
        what=leak.what,
        pairs=leak.pairs,
        first=str(leak.first),
        second=str(leak.second),
        allow=leak.entries[0],
    )


def _first(lines: list[str]) -> list[str]:
    """At most SHOWN lines, indented, and the number of those left out."""
    more = len(lines) - SHOWN
    return [f"  {line}" for line in lines[:SHOWN]] + ([f"  and {more} more"] if more > 0 else [])
