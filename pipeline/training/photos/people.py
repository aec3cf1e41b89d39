"""Identities in a photo import; people linked by folders or embeddings are one person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray
from pipeline.core.components import connected_groups
from pipeline.training.photos.files import LeftOutRow, Photo


@dataclass(frozen=True, eq=False)
class Found:
    """A photo's largest face. embedding: (D,) of length 1, or None without an embedder."""

    photo: Photo
    keypoints: FloatArray
    embedding: FloatArray | None


def group_people(found: Sequence[Found], same_person: float) -> list[str]:
    """identity_id of every photo: people linked by folders or embeddings are one person.

    An identity's name is the alphabetically first of its people's folder names.
    """
    names = [one.photo.person for one in found]
    similar = _similar_pairs(_embeddings(found), same_person)
    links = [*zip(names, names, strict=True), *((names[i], names[j]) for i, j in similar)]
    identity = {name: min(group) for group in connected_groups(links) for name in group}
    return [identity[name] for name in names]


def partners(identities: Iterable[str]) -> dict[str, str]:
    """Donor of each person: people exchange faces in pairs, so that swaps link few people.

    Pairs follow the order of names; the last of an odd number of people has no donor.
    """
    people = sorted(set(identities))
    pairs = list(zip(people[::2], people[1::2], strict=False))
    return dict(pairs) | {second: first for first, second in pairs}


def without(
    found: list[Found], unwanted: list[FloatArray], same_person: float
) -> tuple[list[Found], list[LeftOutRow]]:
    """Split photos into those that show no excluded person, and rows for the others."""
    if not unwanted or not found:
        return found, []
    closest = (_embeddings(found) @ np.stack(unwanted).T).max(axis=1).tolist()  # (n,)
    excluded = [
        LeftOutRow(
            path=face.photo.name,
            source=face.photo.source,
            reason="excluded",
            detail=f"similarity {value:.3f}",
        )
        for face, value in zip(found, closest, strict=True)
        if value > same_person
    ]
    others = [face for face, value in zip(found, closest, strict=True) if value <= same_person]
    return others, excluded


def _embeddings(found: Sequence[Found]) -> NDArray[np.float32]:
    """Embeddings (n, D), or (n, 0) without an embedder."""
    known = [face.embedding for face in found if face.embedding is not None]
    return np.stack(known) if known else np.zeros((len(found), 0), np.float32)


def _similar_pairs(embeddings: NDArray[np.float32], least: float) -> list[tuple[int, int]]:
    similar = np.triu(embeddings @ embeddings.T > least, k=1)
    return [(int(first), int(second)) for first, second in np.argwhere(similar)]
