"""Leak audit of the splits, independent of the groups that separate them.

It compares names (people, videos, groups) and images: a copy of a photograph under another name has
no name in common with it, but nearly the same perceptual hash.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.manifest import SplitRow
from pipeline.runtime.errors import ManifestError

Splits = Mapping[str, Sequence[SplitRow]]
Names = Callable[[SplitRow], Iterable[str]]

HASH_INPUT_PX: Final = 32
HASH_SIDE: Final = 8
# Largest number of the 64 bits in which near-duplicates differ. Measured on the sample: a copy at
# half the size and JPEG 50 differs by at most 4, faces of different groups by at least 12.
NEAR_BITS: Final = 4
# Rows of the distance table computed at a time.
BLOCK: Final = 1024
# The header of a manifest is row 1.
FIRST_ROW: Final = 2

NEAR_DUPLICATE: Final = "near-duplicate"
# Per kind: the names of a row, and the names of another split that they must not equal. A source
# identity must not equal an identity either, because both are faces.
NAMES: Final[dict[str, tuple[Names, Names]]] = {
    "identity": (lambda row: [row.identity_id], lambda row: [row.identity_id]),
    "source identity": (
        lambda row: [row.source_identity_id],
        lambda row: [row.source_identity_id, row.identity_id],
    ),
    "video": (
        lambda row: [row.video_id, row.original_video_id],
        lambda row: [row.video_id, row.original_video_id],
    ),
    "group": (lambda row: [row.group], lambda row: [row.group]),
}
KINDS: Final = (*NAMES, NEAR_DUPLICATE)


@dataclass(frozen=True)
class RowRef:
    """A row of a split's manifest, numbered as in a spreadsheet."""

    split: str
    row: int
    face_id: str

    def __str__(self) -> str:
        return f"{self.split}.csv row {self.row} ({self.face_id})"


@dataclass(frozen=True)
class Overlap:
    """One name or image in two places.

    kind: one of KINDS. what: the name, or the distance between two images.
    """

    kind: str
    what: str
    first: RowRef
    second: RowRef

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.first} and {self.second}"


@dataclass(frozen=True)
class Audit:
    """Result of `audit_splits`.

    within[kind][split]: number of distinct names in a split; for near-duplicates, number of pairs
    of faces of different videos. across: overlaps of two splits, of which there should be none.
    """

    within: dict[str, dict[str, int]]
    across: list[Overlap]

    def count_across(self, kind: str, first: str, second: str) -> int:
        pair = {first, second}
        return sum(o.kind == kind and {o.first.split, o.second.split} == pair for o in self.across)


def audit_splits(splits: Splits, root: Path) -> Audit:
    """Compare all splits with each other and each with itself.

    root: folder that the paths of the rows are relative to. Raises ManifestError when a context
    crop cannot be read.
    """
    within: dict[str, dict[str, int]] = {}
    across: list[Overlap] = []
    for kind, (own_names, other_names) in NAMES.items():
        named, against = _first_rows(splits, own_names), _first_rows(splits, other_names)
        within[kind] = {split: len(first) for split, first in named.items()}
        across += _overlaps(kind, named, against)
    near = near_duplicates(splits, root)
    inside = [pair.first.split for pair in near if pair.first.split == pair.second.split]
    within[NEAR_DUPLICATE] = {split: inside.count(split) for split in splits}
    across += [pair for pair in near if pair.first.split != pair.second.split]
    return Audit(within, across)


def near_duplicates(splits: Splits, root: Path) -> list[Overlap]:
    """Pairs of faces of different videos or splits whose hashes differ by at most NEAR_BITS.

    The context crop is hashed, because portraits resemble each other in the face but not in its
    surroundings.
    """
    faces = [face for split, rows in splits.items() for face in _faces(split, rows)]
    hashes = np.array([_read_hash(ref, row, root) for ref, row in faces], np.uint64)  # (n,)
    found = []
    for start in range(0, len(faces), BLOCK):
        distances = np.bitwise_count(
            hashes[start : start + BLOCK, None] ^ hashes[None, start:]
        )  # (BLOCK, n - start)
        for i, j in np.argwhere(distances <= NEAR_BITS).tolist():
            (ref, row), (other_ref, other) = faces[start + i], faces[start + j]
            is_pair = row.video_id != other.video_id or ref.split != other_ref.split
            if i < j and is_pair:
                what = f"({distances[i, j]} of 64 bits differ)"
                found.append(Overlap(NEAR_DUPLICATE, what, ref, other_ref))
    return found


def perceptual_hash(grey: NDArray[np.uint8]) -> int:
    """64 bits of an (H, W) image: which of the 8x8 lowest DCT coefficients exceed the median.

    Robust to resizing, compression and changes of brightness, but not to cropping or mirroring.
    """
    size = (HASH_INPUT_PX, HASH_INPUT_PX)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def table_lines(audit: Audit, splits: Sequence[str]) -> list[str]:
    """Counts as aligned text: one line per kind, one column per split and per pair of splits."""
    pairs = list(combinations(splits, 2))
    heads = [*splits, *("-".join(pair) for pair in pairs)]
    lines = [f"{'':16}" + "".join(f"{head:>11}" for head in heads)]
    for kind in KINDS:
        counts = [audit.within[kind][split] for split in splits]
        counts += [audit.count_across(kind, *pair) for pair in pairs]
        lines.append(f"{kind:16}" + "".join(f"{count:11d}" for count in counts))
    return lines


def _first_rows(splits: Splits, names: Names) -> dict[str, dict[str, RowRef]]:
    """For every split, the first row of each name that is not empty."""
    first: dict[str, dict[str, RowRef]] = {split: {} for split in splits}
    for split, rows in splits.items():
        for number, row in enumerate(rows, start=FIRST_ROW):
            for name in filter(None, names(row)):
                first[split].setdefault(name, RowRef(split, number, row.face_id))
    return first


def _overlaps(
    kind: str, named: Mapping[str, dict[str, RowRef]], against: Mapping[str, dict[str, RowRef]]
) -> list[Overlap]:
    """Names in `named` of one split and in `against` of another; `against` includes `named`."""
    return [
        Overlap(kind, repr(name), against[first][name], against[second][name])
        for first, second in combinations(named, 2)
        for name in sorted(
            named[first].keys() & against[second].keys()
            | against[first].keys() & named[second].keys()
        )
    ]


def _faces(split: str, rows: Sequence[SplitRow]) -> list[tuple[RowRef, SplitRow]]:
    """First row of every face, which has one context crop and one row per scale."""
    first: dict[str, tuple[RowRef, SplitRow]] = {}
    for number, row in enumerate(rows, start=FIRST_ROW):
        first.setdefault(row.face_id, (RowRef(split, number, row.face_id), row))
    return list(first.values())


def _read_hash(ref: RowRef, row: SplitRow, root: Path) -> int:
    try:
        with Image.open(root / row.context_path) as image:
            return perceptual_hash(np.asarray(image.convert("L")))
    except (OSError, ValueError, SyntaxError) as error:
        raise ManifestError(
            f"{ref}: context_path {row.context_path}: not a readable image"
            f" ({type(error).__name__}); run `dvc repro split_groups` to create it again"
        ) from error
