"""Leak audit of the splits, independent of the groups that separate them.

It compares names (people, videos, groups) and images: a copy of a photograph under another name has
no name in common with it, but nearly the same perceptual hash.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pipeline.core.audit import AuditReport, Overlaps, PerSplit, SourcePhotos
from pipeline.core.tables import Table
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.sections import AuditParams
from pipeline.runtime.workers import map_in_processes
from pipeline.splits.near_duplicates import HASH_BITS, near_pairs, perceptual_hash

# Tables of SplitRow by the name of the split.
Splits = Mapping[str, Table]

# The header of a manifest is row 1.
FIRST_ROW: Final = 2
# Below this number of faces, hashing takes less time than starting another process.
FACES_PER_WORKER: Final = 1000

ALLOWED_SHOWN: Final = 5

SOURCE_IDENTITY: Final = "source-identity"
NEAR_DUPLICATE: Final = "near-duplicate"
# Per kind: columns with its names, and columns of another split that these must not equal. A source
# identity must not equal an identity either, because both are faces.
NAMES: Final = {
    "identity": (["identity_id"], ["identity_id"]),
    SOURCE_IDENTITY: (["source_identity_id"], ["source_identity_id", "identity_id"]),
    "video": (["video_id", "original_video_id"], ["video_id", "original_video_id"]),
    "group": (["group"], ["group"]),
}
KINDS: Final = (*NAMES, NEAR_DUPLICATE)
# Counted, but never a leak: one photo serves many swaps, and so cannot be kept in one split.
SOURCE_PHOTO: Final = "source-photo"


@dataclass(frozen=True, slots=True)
class RowRef:
    """A row of a split's manifest, numbered as in a spreadsheet."""

    split: str
    number: int
    face_id: str
    video_id: str
    identity_id: str

    @property
    def video(self) -> tuple[str, str]:
        return self.split, self.video_id

    def __str__(self) -> str:
        return f"{self.split}.csv row {self.number} ({self.face_id})"


@dataclass(frozen=True)
class Overlap:
    """One name in two splits, or near-duplicate faces of two videos in two splits.

    kind: one of KINDS. what: the name, or the least distance. first, second: the first rows with
    it. entries: items of audit.allow, any of which allows it, and last the kind, all of which
    split_groups.link_sources may allow. pairs: number of pairs of faces, 1 for a name.
    """

    kind: str
    what: str
    first: RowRef
    second: RowRef
    entries: tuple[str, ...]
    pairs: int = 1

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.first} and {self.second}"


@dataclass(frozen=True)
class Audit:
    """Result of `audit_splits`.

    within[kind][split]: number of distinct names in a split; for near-duplicates, number of pairs
    of faces of different people. leaks: overlaps of two splits, of which there should be none.
    allowed: those that audit.allow names. exceptions: its entries that allowed one. unused: those
    that match nothing. source_photos: distinct ones in every split.
    """

    within: dict[str, dict[str, int]]
    leaks: list[Overlap]
    allowed: list[Overlap]
    exceptions: list[str]
    unused: list[str]
    source_photos: dict[str, set[str]]

    def count_across(self, kind: str, first: str, second: str) -> int:
        """Number of overlaps of one kind in two splits, including allowed ones."""
        if kind == SOURCE_PHOTO:
            return len(self.source_photos[first] & self.source_photos[second])
        pair = {first, second}
        found = [*self.leaks, *self.allowed]
        return sum(
            o.pairs for o in found if o.kind == kind and {o.first.split, o.second.split} == pair
        )

    def report(self, near_bits: int) -> AuditReport:
        """Content of metrics/audit.json."""
        splits_of_photo = Counter(
            photo for photos in self.source_photos.values() for photo in photos
        )
        return AuditReport(
            across=_totals(self.leaks),
            allowed=_totals(self.allowed),
            exceptions=self.exceptions,
            near_bits=near_bits,
            near_duplicates_within=PerSplit(**self.within[NEAR_DUPLICATE]),
            source_photos=SourcePhotos(
                **self.within[SOURCE_PHOTO],
                total=len(splits_of_photo),
                in_two_splits=sum(number > 1 for number in splits_of_photo.values()),
            ),
        )


def audit_splits(
    splits: Splits,
    root: Path,
    params: AuditParams,
    workers: int = 1,
    *,
    link_sources: bool = True,
) -> Audit:
    """Compare all splits with each other, and the images of each with themselves.

    root: folder that the paths of the rows are relative to. workers: number of processes that hash
    images. link_sources: split_groups.link_sources; if false, a source person in two splits is
    allowed. Raises ManifestError when a context crop cannot be read.
    """
    within: dict[str, dict[str, int]] = {}
    across: list[Overlap] = []
    for kind, (own, other) in NAMES.items():
        named = {split: _first_rows(table, own) for split, table in splits.items()}
        against = {split: _first_rows(table, other) for split, table in splits.items()}
        within[kind] = {split: len(first) for split, first in named.items()}
        across += _overlaps(kind, splits, named, against)
    within[NEAR_DUPLICATE], near = near_duplicates(splits, root, params.near_bits, workers)
    across += near
    photos = {split: set(table["source_photo"]) - {""} for split, table in splits.items()}
    within[SOURCE_PHOTO] = {split: len(found) for split, found in photos.items()}
    allow, entries = set(params.allow), {entry for overlap in across for entry in overlap.entries}
    if not link_sources:
        allow |= {SOURCE_IDENTITY} & entries
    return Audit(
        within=within,
        leaks=[overlap for overlap in across if allow.isdisjoint(overlap.entries)],
        allowed=[overlap for overlap in across if not allow.isdisjoint(overlap.entries)],
        exceptions=sorted(allow & entries),
        unused=sorted(allow - entries),
        source_photos=photos,
    )


def result_lines(audit: Audit, report: AuditReport, splits: Sequence[str]) -> list[str]:
    """The result for the console, without the leaks."""
    photos = report.source_photos
    return [
        *table_lines(audit, splits),
        f"{photos.in_two_splits} of {photos.total} source photos are in two splits",
        *(f"warning: audit.allow: {entry!r} matches no overlap" for entry in audit.unused),
        *(f"allowed: {overlap}" for overlap in audit.allowed[:ALLOWED_SHOWN]),
        *([f"allowed: {len(audit.allowed)} in total"] if audit.allowed else []),
        *([] if audit.leaks else ["no leaks between splits"]),
    ]


def table_lines(audit: Audit, splits: Sequence[str]) -> list[str]:
    """Counts as aligned text: one line per kind, one column per split and per pair of splits."""
    pairs = list(combinations(splits, 2))
    heads = [*splits, *("-".join(pair) for pair in pairs)]
    lines = [f"{'':16}" + "".join(f"{head:>11}" for head in heads)]
    for kind in (*KINDS, SOURCE_PHOTO):
        counts = [audit.within[kind][split] for split in splits]
        counts += [audit.count_across(kind, *pair) for pair in pairs]
        lines.append(f"{kind:16}" + "".join(f"{count:11d}" for count in counts))
    return lines


def near_duplicates(
    splits: Splits, root: Path, near_bits: int, workers: int = 1
) -> tuple[dict[str, int], list[Overlap]]:
    """Faces whose hashes differ in at most near_bits bits.

    Returns, per split, the number of such pairs of different people inside it; and one Overlap per
    pair of videos in two splits. A fake and its original show one person and are near-duplicates by
    nature. The context crop is hashed, because portraits resemble each other in the face but not in
    its surroundings.
    """
    faces: list[RowRef] = []
    crops: list[tuple[str, str]] = []
    for name, table in splits.items():
        # A face has one context crop, and one row per scale.
        first_rows = sorted(_first_rows(table, ["face_id"]).values())
        rows, paths = _rows(name, table, first_rows), table["context_path"][first_rows]
        faces += rows
        crops += [(str(root / path), str(row)) for path, row in zip(paths, rows, strict=True)]
    if not faces:
        return dict.fromkeys(splits, 0), []
    workers = min(workers, len(faces) // FACES_PER_WORKER)
    hashes = np.array(map_in_processes(_hash_of, crops, workers, "faces", 100), np.uint64)
    names = list(splits)
    split = np.array([names.index(face.split) for face in faces])
    _, person = np.unique([face.identity_id for face in faces], return_inverse=True)
    inside = np.zeros(len(names), np.int64)
    # Per pair of videos in two splits: their nearest faces, as (bits, first, second), and a count.
    nearest: dict[tuple[str, ...], tuple[int, int, int]] = {}
    count: Counter[tuple[str, ...]] = Counter()
    for first, second, bits in near_pairs(hashes, near_bits):
        one_split = split[first] == split[second]
        strangers = one_split & (person[first] != person[second])
        inside += np.bincount(split[first[strangers]], minlength=len(names))
        found = np.stack([bits, first, second])[:, ~one_split]  # (3, pairs)
        for distance, i, j in found.T.tolist():
            videos = (*faces[i].video, *faces[j].video)
            count[videos] += 1
            nearest[videos] = min(nearest.get(videos, (HASH_BITS, 0, 0)), (distance, i, j))
    across = [
        _near_overlap(distance, faces[i], faces[j], count[videos])
        for videos, (distance, i, j) in sorted(nearest.items(), key=lambda item: item[1][1:])
    ]
    return dict(zip(names, inside.tolist(), strict=True)), across


def _near_overlap(bits: int, first: RowRef, second: RowRef, pairs: int) -> Overlap:
    videos = (first.video_id, second.video_id)
    both_orders = (":".join((NEAR_DUPLICATE, *order)) for order in (videos, videos[::-1]))
    entries = (*both_orders, NEAR_DUPLICATE)
    what = f"({bits} of {HASH_BITS} bits differ)"
    return Overlap(NEAR_DUPLICATE, what, first, second, entries, pairs)


def _totals(overlaps: Iterable[Overlap]) -> Overlaps:
    totals = dict.fromkeys((kind.replace("-", "_") for kind in KINDS), 0)
    for overlap in overlaps:
        totals[overlap.kind.replace("-", "_")] += overlap.pairs
    return Overlaps(**totals)


def _first_rows(table: Table, columns: Sequence[str]) -> dict[str, int]:
    """Index of the first row with each name in one of the columns, empty names excepted."""
    first: dict[str, int] = {}
    for column in columns:
        names = table[column]
        rows = dict(zip(names[::-1], range(len(names) - 1, -1, -1), strict=True))
        first |= {name: min(row, first.get(name, row)) for name, row in rows.items() if name}
    return first


def _overlaps(
    kind: str,
    splits: Splits,
    named: Mapping[str, dict[str, int]],
    against: Mapping[str, dict[str, int]],
) -> list[Overlap]:
    """Names in `named` of one split and in `against` of another; `against` includes `named`."""
    overlaps = []
    for first, second in combinations(named, 2):
        names = sorted(
            named[first].keys() & against[second].keys()
            | against[first].keys() & named[second].keys()
        )
        rows = [
            _rows(split, splits[split], [against[split][name] for name in names])
            for split in (first, second)
        ]
        overlaps += [
            Overlap(kind, repr(name), one, other, (f"{kind}:{name}", kind))
            for name, one, other in zip(names, *rows, strict=True)
        ]
    return overlaps


def _rows(split: str, table: Table, indices: Sequence[int]) -> list[RowRef]:
    """Rows of a split by their indices in its table."""
    columns = (table[name] for name in ("face_id", "video_id", "identity_id"))
    cells = [column[list(indices)] for column in columns]
    return [
        RowRef(split, index + FIRST_ROW, *names)
        for index, *names in zip(indices, *cells, strict=True)
    ]


def _hash_of(crop: tuple[str, str]) -> int:
    """Hash of a context crop, given as its path and the row that names it."""
    path, where = crop
    try:
        with Image.open(path) as image:
            return perceptual_hash(np.asarray(image.convert("L")))
    except (OSError, ValueError, SyntaxError) as error:
        raise ManifestError(
            f"{where}: context_path: {path} is not a readable image ({type(error).__name__}); run"
            " `dvc repro split_groups` to create it again"
        ) from error
