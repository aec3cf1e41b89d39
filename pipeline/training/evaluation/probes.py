"""Probes that must not tell real from fake, and ladders of degradations that may get harder.

They score copies of the test faces: with the face covered, with only the reals blurred, compressed
or shrunk step by step.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.core.labels import FAKE, REAL
from pipeline.decision.decide import DecisionSpec
from pipeline.decision.scorer import FaceScorer
from pipeline.runtime.progress import tracked
from pipeline.training.evaluation.slices import Report
from pipeline.training.pairs.degradations import (
    Degradation,
    blur,
    cover_face,
    jpeg,
    shrink_face,
    x264,
)
from pipeline.training.scoring.metrics import area_under_roc
from pipeline.training.scoring.scorer import decided, degraded_evidence, face_scores
from pipeline.training.store.reader import FaceStore, evenly, image_of

COVER_TIMES_BOX = 1.8
BLUR_PROBE_PX = 1.0
# A probe passes while its AUC stays within these limits.
AT_MOST = {"background_only": 0.60, "metadata_only": 0.60}
METADATA = [
    "face_px",
    "scene",
    "frame_index",
    "timestamp_s",
    "box_x0",
    "box_y0",
    "box_x1",
    "box_y1",
]

# Each from mild to harsh, of one length, so that they share a plot.
LADDERS: dict[str, dict[int | float, Degradation]] = {
    "jpeg_quality": {quality: jpeg(quality) for quality in (100, 90, 75, 50, 30, 10)},
    "x264_crf": {crf: x264(crf) for crf in (18, 23, 28, 32, 36, 40)},
    "face_px": {side: shrink_face(side) for side in (256, 192, 128, 96, 64, 48)},
    "blur_px": {sigma: blur(sigma) for sigma in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)},
}


@dataclass(frozen=True, eq=False)
class MeasuredSplit:
    """A split with the scorer and the decision that are measured on it."""

    scorer: FaceScorer
    store: FaceStore
    decision: DecisionSpec

    @property
    def labels(self) -> NDArray[np.int64]:
        """(faces,)"""
        return self.store.faces["label"].to_numpy(dtype=np.int64)

    def scores(self, faces: NDArray[np.int64], degrade: Degradation) -> NDArray[np.float64]:
        """(len(faces),) scores of degraded copies."""
        if not len(faces):
            return np.empty(0)
        evidence = degraded_evidence(self.scorer, self.store, faces.tolist(), degrade)
        return face_scores(evidence, self.decision)

    def decided(self, faces: NDArray[np.int64], degrade: Degradation) -> pd.DataFrame:
        """`pipeline.training.scoring.scorer.decided` of degraded copies, at their size."""
        images = [degrade(image_of(self.store, int(face))) for face in faces]
        rows = self.store.faces.loc[faces].assign(face_px=[one.face_px for one in images])
        return decided(rows, self.scorer.of_images(images), self.decision)


def compressed_reals(split: MeasuredSplit, faces: pd.DataFrame, quality: int) -> pd.DataFrame:
    """The real rows of `faces`, scored again after JPEG compression of their contexts."""
    reals = np.flatnonzero(split.labels == REAL)
    if not len(reals):
        return faces.iloc[reals]
    evidence = degraded_evidence(split.scorer, split.store, reals.tolist(), jpeg(quality))
    return decided(faces.iloc[reals], evidence, split.decision)


def probes(
    split: MeasuredSplit, scores: NDArray[np.float64], seen: pd.DataFrame, draws: int, seed: int
) -> Report:
    """AUC of every probe with its limit; passed is 1 or 0.

    scores: (faces,) of the clean faces. seen: crops of the train split, for the metadata probe.
    """
    labels = split.labels
    if len(np.unique(labels)) < 2:
        return {"reason": "the test split lacks a class", "auc": None}
    found = {
        "background_only": area_under_roc(labels, _background_scores(split)),
        "metadata_only": _metadata_auc(seen, split.store.faces),
    }
    report: Report = {
        name: {"auc": auc, "at_most": AT_MOST[name], "passed": int(auc <= AT_MOST[name])}
        for name, auc in found.items()
    }
    blurred = _with_blurred_reals(split, scores)
    report["only_reals_blurred"] = {"auc": blurred, "at_least": 0.5, "passed": int(blurred >= 0.5)}
    report["permuted_labels"] = _permuted(labels, scores, draws, seed)
    return report


def ladders(split: MeasuredSplit, faces_per_class: int) -> Report:
    """Every level of every ladder on evenly spaced test faces: AUC of the scores, and the fraction
    flagged fake among fakes (recall) and reals (fpr), and undecided among all."""
    labels = split.labels
    chosen = np.concatenate(
        [evenly(np.flatnonzero(labels == label), faces_per_class) for label in (REAL, FAKE)]
    )
    steps = [(name, level) for name, levels in LADDERS.items() for level in levels]
    report: Report = {name: {} for name in LADDERS}
    for name, level in tracked(steps, len(steps), "levels of the ladders"):
        report[name][f"{level:g}"] = _level(split.decided(chosen, LADDERS[name][level]))
    return report | {"faces_per_class": faces_per_class}


def _level(faces: pd.DataFrame) -> Report:
    labels, called = faces["label"], faces["called"]
    both = labels.nunique() == 2
    return {
        "auc": area_under_roc(labels, faces["score"]) if both else None,
        "recall": float(called[labels == FAKE].mean()) if (labels == FAKE).any() else None,
        "fpr": float(called[labels == REAL].mean()) if (labels == REAL).any() else None,
        "undecided": float((faces["verdict"] == "undecided").mean()),
    }


def _background_scores(split: MeasuredSplit) -> NDArray[np.float64]:
    """(faces,) scores with the paste square covered."""
    return split.scores(np.arange(len(split.store.faces)), cover_face(COVER_TIMES_BOX))


def _metadata_auc(seen: pd.DataFrame, faces: pd.DataFrame) -> float:
    """AUC on the test faces of a linear model without images: sizes, positions, times."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    known = seen.drop_duplicates("face_id")
    model.fit(known[METADATA].to_numpy(dtype=np.float64), known["label"].to_numpy())
    predicted = model.predict_proba(faces[METADATA].to_numpy(dtype=np.float64))[:, 1]
    return area_under_roc(faces["label"], predicted)


def _with_blurred_reals(split: MeasuredSplit, scores: NDArray[np.float64]) -> float:
    """AUC with only the reals blurred: a detector of softness instead of seams falls below 0.5."""
    reals = np.flatnonzero(split.labels == REAL)
    mixed = scores.copy()
    mixed[reals] = split.scores(reals, blur(BLUR_PROBE_PX))
    return area_under_roc(split.labels, mixed)


def _permuted(
    labels: NDArray[np.int64], scores: NDArray[np.float64], draws: int, seed: int
) -> Report:
    """Mean AUC over random relabellings: 0.5 unless the evaluation itself leaks the label."""
    rng = np.random.default_rng(seed)
    auc = float(np.mean([area_under_roc(rng.permutation(labels), scores) for _ in range(draws)]))
    return {"auc": auc, "within": 0.03, "passed": int(abs(auc - 0.5) <= 0.03)}
