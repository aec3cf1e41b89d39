"""Sampling of training pairs: a real face and its swap, drawn from (seed, epoch)."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import Sampler

from pipeline.core.labels import FAKE, FAKE_TYPES, REAL
from pipeline.runtime.errors import ManifestError
from pipeline.training.store.reader import BOX_COLUMNS, KEYPOINT_COLUMNS

# A real face; a swap made from a real face on the fly; a fake from the manifest.
Variant = Literal["real", "pseudo", "fake"]
Indices = NDArray[np.int64]
# Boxes of the same face with and without a swap overlap by more than this.
SAME_FACE_IOU: Final = 0.3
# Index of a face, its variant, and Item.frame_of.
Drawn = tuple[int, Variant, int | None]


@dataclass(frozen=True)
class Item:
    """One image of one epoch; epoch and pair (with the seed) determine all of its randomness.

    frame_of: the other face of a pair from the manifest, whose frame shows the same moment; None
    for a swap made on the fly, and where a fake's original is missing.
    """

    epoch: int
    pair: int
    face: int
    variant: Variant
    frame_of: int | None = None


class PairSampler(Sampler[list[Item]]):
    """Samples batches of pairs: images alternate between a real face and a swap of the same frame.

    faces: the table of a store. With probability `pseudo_frac` the swap is made on the fly;
    otherwise it is a genuine fake from the manifest, paired with the real frame it was made from,
    or with a random real face if that frame is missing or shows something else. The manifest's
    pseudo-swaps are drawn only if no swap can be made. balance: weights of real faces. The
    generators have equal weights. pseudo_frac: as above, but 1 without genuine fakes and 0 without
    faces to swap.
    Raises ManifestError if nothing can be paired.
    """

    def __init__(
        self,
        faces: pd.DataFrame,
        *,
        pseudo_frac: float,
        pairs: int,
        batch_size: int,
        seed: int,
        balance: "FaceBalance | None" = None,
    ) -> None:
        balance = balance or FaceBalance()
        real = np.flatnonzero(faces["label"] == REAL)
        self._real = real
        self._real_weights = balance.weights(faces, real)
        has_keypoints = faces.loc[real, KEYPOINT_COLUMNS].notna().all(axis=1).to_numpy()
        self._swappable = real[has_keypoints]
        self._swappable_weights = balance.weights(faces, self._swappable)
        is_fake = faces["label"] == FAKE
        is_genuine = is_fake & (faces["fake_type"] != "pseudo")
        self._fakes = np.flatnonzero(is_genuine if len(self._swappable) else is_fake)
        self._fake_weights = generator_weights(faces.loc[self._fakes])
        self._fake_types = faces["fake_type"].to_numpy()
        self._originals = _originals(faces, self._fakes)
        self.pseudo_frac = _possible_frac(pseudo_frac, self._swappable, self._fakes, real)
        self._pairs, self._pairs_per_batch, self._seed = pairs, batch_size // 2, seed
        self._epoch = 0

    @property
    def summary(self) -> str:
        """Where the fakes come from, for the log."""
        if not len(self._fakes):
            return "no genuine fakes in the training split: every fake is a pseudo-swap"
        listed = Counter(self._fake_types[self._fakes].tolist())
        paired = sum(self._originals[int(fake)] is not None for fake in self._fakes)
        counts = ", ".join(f"{listed[kind]} {kind}" for kind in FAKE_TYPES if listed[kind])
        return (
            f"fakes: {100 * self.pseudo_frac:.0f} % pseudo-swaps made on the fly, the others from"
            f" {counts} faces of the training split, {paired} of them with their original"
        )

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    @property
    def last_batch_pairs(self) -> int:
        """Number of pairs in an epoch's last batch, which may be smaller than the others."""
        return (self._pairs - 1) % self._pairs_per_batch + 1

    def __len__(self) -> int:
        return -(-self._pairs // self._pairs_per_batch)

    def __iter__(self) -> Iterator[list[Item]]:
        items = self.items(self._epoch)
        step = 2 * self._pairs_per_batch
        for start in range(0, len(items), step):
            yield items[start : start + step]

    def items(self, epoch: int) -> list[Item]:
        """The epoch's images, pair by pair, the real one first."""
        rng = np.random.default_rng((self._seed, epoch))
        pairs = (self._draw(rng) for _ in range(self._pairs))
        return [
            Item(epoch, pair, face, variant, frame_of)
            for pair, drawn in enumerate(pairs)
            for face, variant, frame_of in drawn
        ]

    def kinds(self, epoch: int) -> dict[str, int]:
        """Number of the epoch's fakes by kind, "pseudo" for those made on the fly."""
        fakes = [item for item in self.items(epoch) if item.variant != "real"]
        kinds = Counter(
            "pseudo" if item.variant == "pseudo" else str(self._fake_types[item.face])
            for item in fakes
        )
        return {kind: kinds[kind] for kind in FAKE_TYPES}

    def _draw(self, rng: np.random.Generator) -> tuple[Drawn, Drawn]:
        if rng.random() < self.pseudo_frac:
            face = int(rng.choice(self._swappable, p=self._swappable_weights))
            return (face, "real", None), (face, "pseudo", None)
        fake = int(rng.choice(self._fakes, p=self._fake_weights))
        original = self._originals[fake]
        if original is None:
            stranger = int(rng.choice(self._real, p=self._real_weights))
            return (stranger, "real", None), (fake, "fake", None)
        return (original, "real", fake), (fake, "fake", original)


@dataclass(frozen=True, eq=False)
class FaceBalance:
    """Sampling weights of real faces.

    source_power: a source with n people gets the weight n ** source_power; with 1 all people have
    equal weights, with 0 all sources. lacks_surroundings: (faces,) whether a face fills its image,
    so that no seam is visible. tight_frac: total weight of these faces, if there are both kinds.
    """

    source_power: float = 1.0
    lacks_surroundings: NDArray[np.bool_] | None = None
    tight_frac: float = 0.5

    def weights(self, faces: pd.DataFrame, chosen: Indices) -> NDArray[np.float64]:
        """(len(chosen),) summing to 1; a person's weight does not depend on the number of faces."""
        table = faces.loc[chosen]
        weights = person_weights(table)
        if self.source_power != 1:
            weights *= source_weights(table, self.source_power)
        if self.lacks_surroundings is None:
            return np.asarray(weights / weights.sum())
        tight = self.lacks_surroundings[chosen]
        for part, total in ((tight, self.tight_frac), (~tight, 1 - self.tight_frac)):
            if 0 < part.sum() < len(part):
                weights[part] *= total / weights[part].sum()
        return np.asarray(weights / weights.sum())


def source_weights(faces: pd.DataFrame, power: float) -> NDArray[np.float64]:
    """(n,) factors for `person_weights`: (number of people of the source) ** (power - 1)."""
    people = faces.groupby("source")["identity_id"].transform("nunique")
    return people.to_numpy(dtype=np.float64) ** (power - 1)


def person_weights(faces: pd.DataFrame) -> NDArray[np.float64]:
    """(n,) summing to 1; each identity has the same total weight."""
    counts = faces.groupby("identity_id")["identity_id"].transform("size")
    weights = 1 / counts.to_numpy(dtype=np.float64)
    return np.asarray(weights / weights.sum())


def generator_weights(faces: pd.DataFrame) -> NDArray[np.float64]:
    """(n,) summing to 1; each fake_type has the same total weight, and each identity within it."""
    keys = ["fake_type", "identity_id"]
    counts = faces.groupby(keys)["label"].transform("size").to_numpy(dtype=np.float64)
    people = faces.groupby("fake_type")["identity_id"].transform("nunique").to_numpy()
    weights = 1 / (counts * people)
    return np.asarray(weights / weights.sum())


def kinds_line(kinds: dict[str, int]) -> str:
    """Fractions of the kinds of fakes, as `30 % pseudo, 70 % inswapper`."""
    total = max(1, sum(kinds.values()))
    return ", ".join(f"{100 * n / total:.0f} % {kind}" for kind, n in kinds.items() if n)


def _originals(faces: pd.DataFrame, fakes: Indices) -> dict[int, int | None]:
    """Index of the real face that each fake was made from; None if it is not in the table.

    Nor is it known if the frames differ outside the face (column `paired`). Of several real faces
    in a frame it is the one at the place of the fake.
    """
    real = faces[faces["label"] == REAL]
    by_frame: dict[tuple[str, int], list[int]] = defaultdict(list)
    for video, frame, face in zip(real["video_id"], real["frame_index"], real.index, strict=True):
        by_frame[video, frame].append(int(face))
    boxes = faces[BOX_COLUMNS].to_numpy(np.float64)
    wanted = faces.loc[fakes]
    frames = zip(wanted["original_video_id"], wanted["frame_index"], strict=True)
    return {
        int(fake): _at_its_place(boxes, int(fake), by_frame.get(frame, [])) if agrees else None
        for fake, frame, agrees in zip(fakes, frames, wanted["paired"] == 1, strict=True)
    }


def _at_its_place(boxes: NDArray[np.float64], fake: int, reals: list[int]) -> int | None:
    """The real face whose box overlaps most with that of the fake, at least by SAME_FACE_IOU."""
    overlaps = {real: _box_iou(boxes[fake], boxes[real]) for real in reals}
    best = max(overlaps, key=lambda real: overlaps[real], default=None)
    return best if best is not None and overlaps[best] >= SAME_FACE_IOU else None


def _box_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (4,)."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return common / (areas - common)


def _possible_frac(wanted: float, swappable: Indices, fakes: Indices, real: Indices) -> float:
    if not len(real):
        raise ManifestError("training needs real faces (label 0); the training split has none")
    if not len(fakes) and not len(swappable):
        raise ManifestError(
            "training needs fakes (label 1) or real faces with keypoints to swap; the training"
            " split has neither"
        )
    if not len(fakes):
        return 1.0
    return wanted if len(swappable) else 0.0
