"""Faces and their degraded copies, scored: the data that limits are chosen and measured on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.labels import FAKE, REAL
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.scorer import FaceScorer
from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.scorer import degraded_evidence, stored_evidence
from pipeline.training.store.reader import FaceStore

AS_IT_IS = "as_it_is"


@dataclass(frozen=True, eq=False)
class ScoredCopies:
    """The faces of a split as they are stored, and degraded as images are in the field.

    faces: one row per face, with the manifest's columns. copies: evidence about all faces by name
    of the copy, "as_it_is" first.
    """

    faces: pd.DataFrame
    copies: dict[str, FaceEvidence]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(faces,)"""
        return self.faces["label"].to_numpy(dtype=np.int64)

    @property
    def stored(self) -> FaceEvidence:
        """Evidence about the faces as they are stored."""
        return self.copies[AS_IT_IS]


@dataclass(frozen=True, eq=False)
class Pool:
    """All copies together, without those below the size limit.

    labels, weights: (n,); within a class every source has the same total weight, or one large
    folder of studio photos would set the threshold for all cameras. groups, copy: (n,) names.
    """

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    groups: NDArray[np.str_]
    copy: NDArray[np.str_]
    evidence: FaceEvidence

    def where(self, chosen: NDArray[np.bool_]) -> "Pool":
        """A part of the pool."""
        return Pool(
            self.labels[chosen],
            self.weights[chosen],
            self.groups[chosen],
            self.copy[chosen],
            self.evidence[chosen],
        )


def score_copies(
    scorer: FaceScorer, store: FaceStore, faces: NDArray[np.int64] | None = None
) -> ScoredCopies:
    """Score faces as they are stored, and their degraded copies. faces: numbers; None for all."""
    chosen = np.arange(len(store.faces)) if faces is None else faces
    numbers, table = chosen.tolist(), store.faces.loc[chosen]
    degraded = {
        name: degraded_evidence(scorer, store, numbers, copy.degrade)
        for name, copy in DEGRADED_COPIES.items()
    }
    return ScoredCopies(
        faces=table,
        copies={AS_IT_IS: stored_evidence(scorer, store, numbers), **degraded},
    )


def pool_of(faces: ScoredCopies, min_face_px: int) -> Pool:
    """All copies of at least `min_face_px`, for which a verdict is possible."""
    names = list(faces.copies)
    factors = [1.0 if name == AS_IT_IS else DEGRADED_COPIES[name].size_factor for name in names]
    face_px = faces.faces["face_px"].to_numpy(dtype=np.float64)
    large = [np.flatnonzero(face_px * factor >= min_face_px) for factor in factors]
    chosen = np.concatenate(large)
    labels = faces.labels[chosen]
    parts = [faces.copies[name][kept] for name, kept in zip(names, large, strict=True)]
    return Pool(
        labels=labels,
        weights=_source_weights(labels, faces.faces["source"].to_numpy(dtype=np.str_)[chosen]),
        groups=faces.faces["group"].to_numpy(dtype=np.str_)[chosen],
        copy=np.repeat(names, [len(kept) for kept in large]),
        evidence=FaceEvidence.concatenated(parts),
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
