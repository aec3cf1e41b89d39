"""What two splits have in common, found without trusting the groups that kept them apart.

Names are compared (people, videos, groups), and so are images: a copy of a photograph under
another name has no name in common with it, but nearly the same perceptual hash.
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
# Of 64 bits. Measured on the sample: a copy at half the size and JPEG 50 differs by at most 4,
# faces of different groups by at least 12.
NEAR_BITS: Final = 4
# Rows of the table of distances held in memory at a time.
BLOCK: Final = 1024
# The header of a manifest is row 1.
FIRST_ROW: Final = 2

NEAR_DUPLICATE: Final = "near-duplicate"
# What is looked for, and what it must not meet in another split: a source is a face as well.
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
    """A row of a split's manifest, numbered as a spreadsheet does."""

    split: str
    row: int
    face_id: str

    def __str__(self) -> str:
        return f"{self.split}.csv row {self.row} ({self.face_id})"


@dataclass(frozen=True)
class Overlap:
    """One thing in two places. kind: one of KINDS; what: its name, or how near two images are."""

    kind: str
    what: str
    first: RowRef
    second: RowRef

    def __str__(self) -> str:
        return f"{self.kind} {self.what}: {self.first} and {self.second}"


@dataclass(frozen=True)
class Audit:
    """within[kind][split]: distinct names in a split, and of near-duplicates the pairs of faces of
    different videos. across: what lies in two splits and should not."""

    within: dict[str, dict[str, int]]
    across: list[Overlap]

    def count_across(self, kind: str, first: str, second: str) -> int:
        pair = {first, second}
        return sum(o.kind == kind and {o.first.split, o.second.split} == pair for o in self.across)


def audit_splits(splits: Splits, root: Path) -> Audit:
    """Compare all splits with each other and each with itself.

    root: folder that the paths of the rows start from. Raises ManifestError when a context crop
    cannot be read.
    """
    within: dict[str, dict[str, int]] = {}
    across: list[Overlap] = []
    for kind, (sought, met) in NAMES.items():
        named, against = _first_places(splits, sought), _first_places(splits, met)
        within[kind] = {split: len(places) for split, places in named.items()}
        across += _shared(kind, named, against)
    near = near_duplicates(splits, root)
    inside = [pair.first.split for pair in near if pair.first.split == pair.second.split]
    within[NEAR_DUPLICATE] = {split: inside.count(split) for split in splits}
    across += [pair for pair in near if pair.first.split != pair.second.split]
    return Audit(within, across)


def near_duplicates(splits: Splits, root: Path) -> list[Overlap]:
    """Pairs of faces of different videos or splits whose hashes differ by at most NEAR_BITS.

    The context crop is hashed: portraits are alike in the face, not in what is around it.
    """
    faces = [face for split, rows in splits.items() for face in _faces(split, rows)]
    hashes = np.array([_read_hash(place, row, root) for place, row in faces], np.uint64)
    found = []
    for start in range(0, len(faces), BLOCK):
        distances = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[None, start:])
        for i, j in np.argwhere(distances <= NEAR_BITS).tolist():
            (place, row), (other_place, other) = faces[start + i], faces[start + j]
            apart = row.video_id != other.video_id or place.split != other_place.split
            if i < j and apart:
                what = f"({distances[i, j]} of 64 bits differ)"
                found.append(Overlap(NEAR_DUPLICATE, what, place, other_place))
    return found


def perceptual_hash(grey: NDArray[np.uint8]) -> int:
    """64 bits of an (H, W) image: which of the 8x8 lowest DCT coefficients exceed the median.

    Survives another size, compression and changes of brightness, but not cropping or mirroring.
    """
    size = (HASH_INPUT_PX, HASH_INPUT_PX)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def table_lines(audit: Audit, splits: Sequence[str]) -> list[str]:
    """The counts as aligned text: a line a kind, a column a split, then one a pair of splits."""
    pairs = list(combinations(splits, 2))
    heads = [*splits, *("-".join(pair) for pair in pairs)]
    lines = [f"{'':16}" + "".join(f"{head:>11}" for head in heads)]
    for kind in KINDS:
        counts = [audit.within[kind][split] for split in splits]
        counts += [audit.count_across(kind, *pair) for pair in pairs]
        lines.append(f"{kind:16}" + "".join(f"{count:11d}" for count in counts))
    return lines


def _first_places(splits: Splits, names: Names) -> dict[str, dict[str, RowRef]]:
    """Of every split: where each name that is known stands first."""
    places: dict[str, dict[str, RowRef]] = {split: {} for split in splits}
    for split, rows in splits.items():
        for number, row in enumerate(rows, start=FIRST_ROW):
            for name in filter(None, names(row)):
                places[split].setdefault(name, RowRef(split, number, row.face_id))
    return places


def _shared(
    kind: str, named: Mapping[str, dict[str, RowRef]], against: Mapping[str, dict[str, RowRef]]
) -> list[Overlap]:
    """Names of one split that another split has among those to be met. against holds named."""
    return [
        Overlap(kind, repr(name), against[first][name], against[second][name])
        for first, second in combinations(named, 2)
        for name in sorted(
            named[first].keys() & against[second].keys()
            | against[first].keys() & named[second].keys()
        )
    ]


def _faces(split: str, rows: Sequence[SplitRow]) -> list[tuple[RowRef, SplitRow]]:
    """The first row of every face: a face has one context crop and a row a scale."""
    first: dict[str, tuple[RowRef, SplitRow]] = {}
    for number, row in enumerate(rows, start=FIRST_ROW):
        first.setdefault(row.face_id, (RowRef(split, number, row.face_id), row))
    return list(first.values())


def _read_hash(place: RowRef, row: SplitRow, root: Path) -> int:
    try:
        with Image.open(root / row.context_path) as image:
            return perceptual_hash(np.asarray(image.convert("L")))
    except (OSError, ValueError, SyntaxError) as error:
        raise ManifestError(
            f"{place}: context_path {row.context_path}: not a readable image"
            f" ({type(error).__name__}); `dvc repro split_groups` makes it again"
        ) from error
