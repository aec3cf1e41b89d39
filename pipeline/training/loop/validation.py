"""The score of an epoch: the product metric on stored validation faces."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.labels import FAKE, REAL, UNKNOWN
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import fuse_face
from pipeline.decision.scorer import FaceScorer
from pipeline.decision.thresholds import choose_thresholds, sweep
from pipeline.runtime.params import Params
from pipeline.training.loop.history import SWEEP, EpochRow
from pipeline.training.loop.losses import CLASS_HEADS, Balance, multitask_loss
from pipeline.training.network.model import Detector
from pipeline.training.pairs.degradations import jpeg
from pipeline.training.scoring.metrics import area_under_roc, product_metric
from pipeline.training.scoring.scorer import degraded_evidence, stored_evidence, torch_network
from pipeline.training.store.reader import FaceStore, evenly, view_labels
from pipeline.views.cut import view_names
from pipeline.views.preprocess import Preprocess

# Thresholds .05 to .95: Git keeps the sweep of every epoch.
SWEEP_STEPS: Final = 19


class Validator:
    """Scores the same validation faces each time: at most train.val_faces, half of them real.

    All sources give equally many if they can: one large source alone would choose the epoch.
    """

    def __init__(self, store: FaceStore, params: Params, balance: Balance) -> None:
        self._store, self._params, self._balance = store, params, balance
        labels = store.faces["label"].to_numpy()
        half = max(1, params.train.val_faces // 2)
        self._real, fakes = (
            of_every_source(store, np.flatnonzero(labels == label), half) for label in (REAL, FAKE)
        )
        self._faces = np.sort(np.concatenate([self._real, fakes]))

    def run(self, model: Detector) -> EpochRow:
        """val_loss, val_auc, val_product, val_recall_<kind> and val_sweep of a detector.

        model: in eval mode. The recalls are at the balanced threshold of these faces, None without
        such fakes. val_sweep: the rates at SWEEP_STEPS thresholds, as
        pipeline.decision.thresholds.sweep.
        """
        scorer = FaceScorer(torch_network(model), model.preprocess)
        evidence = stored_evidence(scorer, self._store, self._faces.tolist())
        quality = self._params.evaluate.compressed_jpeg
        compressed = degraded_evidence(scorer, self._store, self._real.tolist(), jpeg(quality))
        faces = self._store.faces.loc[self._faces]
        labels, scores = faces["label"].to_numpy(), self._scores(evidence)
        balanced = choose_thresholds(labels, scores)["balanced"]
        flagged = scores >= balanced
        kinds = {kind: flagged[faces["fake_type"] == kind] for kind in ("inswapper", "uniface")}
        return {
            "val_loss": self._loss(evidence, model.preprocess),
            "val_auc": area_under_roc(labels, scores),
            "val_product": product_metric(
                labels,
                scores,
                faces["is_inswapper"].to_numpy(),
                self._scores(compressed),
                balanced,
            ),
            **{
                f"val_recall_{kind}": float(found.mean()) if len(found) else None
                for kind, found in kinds.items()
            },
            SWEEP: sweep(labels, scores, SWEEP_STEPS),
        }

    def _scores(self, evidence: FaceEvidence) -> NDArray[np.float64]:
        """One score per face."""
        return fuse_face(evidence, 1.0, self._params.fusion)

    def _loss(self, evidence: FaceEvidence, preprocess: Preprocess) -> float:
        """Weighted loss over the views, without the seam map."""
        faces = self._store.faces.loc[self._faces]
        views = len(view_names(preprocess))
        # A pseudo-swap of the manifest may or may not be square: its INSwapper target is unknown.
        known = faces["is_inswapper"].where(faces["fake_type"] != "pseudo", UNKNOWN)
        per_face = {
            "real_fake": faces["label"],
            "inswapper": known,
            "quality": faces["quality_label"],
        }
        targets = {
            name: torch.tensor(np.repeat(values.to_numpy(), views).tolist())
            for name, values in per_face.items()
        }
        boundary = [view_labels(self._store, int(face), preprocess) for face in self._faces]
        targets["boundary"] = torch.tensor(boundary).flatten()
        outputs = {
            head: torch.from_numpy(getattr(evidence, head)).flatten(end_dim=1)
            for head in CLASS_HEADS
        }
        parts = multitask_loss(outputs, targets, self._params.train, self._balance)
        return float(parts["total"])


def of_every_source(store: FaceStore, faces: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the faces, as equally from every source as they allow, ascending."""
    sources = store.faces["source"].to_numpy()[faces]
    by_source = sorted((faces[sources == name] for name in sorted(set(sources))), key=len)
    chosen: list[NDArray[np.int64]] = []
    for left, candidates in zip(range(len(by_source), 0, -1), by_source, strict=True):
        share = (count - sum(map(len, chosen))) // left
        chosen.append(evenly(candidates, share))
    return np.sort(np.concatenate(chosen)) if chosen else faces
