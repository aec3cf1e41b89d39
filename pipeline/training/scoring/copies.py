"""Faces with their softer copies, scored: what limits are chosen and judged on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import FAKE, REAL
from pipeline.decision.fusion import SURROUNDINGS
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.scorer import SEAM_MAP, FaceLogits, Scorer
from pipeline.training.store.reader import FaceStore

AS_IT_IS = "as_it_is"


@dataclass(frozen=True, eq=False)
class ScoredCopies:
    """The faces of a split, and what becomes of them in the wild.

    labels, is_inswapper, face_px: (faces,). sources: (faces,) names. copies: logits of all faces by
    name of the copy, "as_it_is" first.
    """

    labels: NDArray[np.int64]
    is_inswapper: NDArray[np.int64]
    face_px: NDArray[np.float64]
    sources: NDArray[np.str_]
    copies: dict[str, FaceLogits]

    @property
    def logits(self) -> FaceLogits:
        """Of the faces as they are stored."""
        return self.copies[AS_IT_IS]

    @property
    def surroundings(self) -> NDArray[np.float64]:
        """(faces,) share of its surroundings that each face has, as it is stored."""
        return self.logits[SURROUNDINGS].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Pool:
    """All copies together, without those too small to be judged.

    labels, weights, surroundings: (n,); within a class every source weighs the same in total, or
    one large folder of studio photos would set the threshold for all cameras. copy: (n,) names.
    """

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    surroundings: NDArray[np.float64]
    copy: NDArray[np.str_]
    logits: FaceLogits

    def where(self, chosen: NDArray[np.bool_]) -> "Pool":
        """A part of the pool."""
        return Pool(
            self.labels[chosen],
            self.weights[chosen],
            self.surroundings[chosen],
            self.copy[chosen],
            {head: values[chosen] for head, values in self.logits.items()},
        )


def score_copies(
    scorer: Scorer, store: FaceStore, faces: NDArray[np.int64] | None = None
) -> ScoredCopies:
    """Score faces as they are stored, and their softened copies. faces: numbers; None for all."""
    chosen = np.arange(len(store.faces)) if faces is None else faces
    numbers, table = chosen.tolist(), store.faces.loc[chosen]
    soft = {
        name: scorer.degraded(store, numbers, copy.degrade)
        for name, copy in DEGRADED_COPIES.items()
    }
    return ScoredCopies(
        labels=table["label"].to_numpy(dtype=np.int64),
        is_inswapper=table["is_inswapper"].to_numpy(dtype=np.int64),
        face_px=table["face_px"].to_numpy(dtype=np.float64),
        sources=table["source"].to_numpy(dtype=np.str_),
        copies={AS_IT_IS: scorer.of_faces(store, numbers), **soft},
    )


def pool_of(faces: ScoredCopies, min_face_px: int) -> Pool:
    """Everything that would be judged."""
    names = list(faces.copies)
    factors = [1.0 if name == AS_IT_IS else DEGRADED_COPIES[name].size_factor for name in names]
    judged = [np.flatnonzero(faces.face_px * factor >= min_face_px) for factor in factors]
    chosen = np.concatenate(judged)
    labels = faces.labels[chosen]
    return Pool(
        labels=labels,
        weights=_source_weights(labels, faces.sources[chosen]),
        surroundings=faces.surroundings[chosen],
        copy=np.repeat(names, [len(kept) for kept in judged]),
        logits={
            head: np.concatenate(
                [faces.copies[name][head][kept] for name, kept in zip(names, judged, strict=True)]
            )
            for head in faces.logits
            if head != SEAM_MAP
        },
    )


def _source_weights(labels: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """(n,) with mean 1: within a class every source weighs the same in total."""
    _, kind, counts = np.unique(
        [f"{label} {source}" for label, source in zip(labels, sources, strict=True)],
        return_inverse=True,
        return_counts=True,
    )
    weights = 1.0 / counts[kind]
    for label in (REAL, FAKE):
        rows = labels == label
        if rows.any():
            weights[rows] *= rows.sum() / weights[rows].sum()
    return np.asarray(weights, np.float64)
