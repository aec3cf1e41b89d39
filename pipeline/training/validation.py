"""What an epoch is judged by: the product metric on stored validation faces."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.fusion import FUSED_HEADS, fuse_crops, fuse_heads, sigmoid
from pipeline.labels import FAKE, REAL
from pipeline.params import Params
from pipeline.preprocess import ImageU8
from pipeline.training.degradations import jpeg
from pipeline.training.losses import Balance, multitask_loss
from pipeline.training.metrics import area_under_roc, product_metric
from pipeline.training.model import Detector
from pipeline.training.scoring import (
    FaceLogits,
    crop_logits,
    degraded_logits,
    evenly,
    rows_of_faces,
)
from pipeline.training.store import FaceStore

TARGET_COLUMNS = {
    "real_fake": "label",
    "inswapper": "is_inswapper",
    "boundary": "boundary_label",
    "quality": "quality_label",
}


class Validator:
    """Scores the same validation faces each time: at most train.val_faces, half of them real."""

    def __init__(self, store: FaceStore, params: Params, balance: Balance) -> None:
        self._store, self._params, self._balance = store, params, balance
        labels = store.faces["label"].to_numpy()
        half = max(1, params.train.val_faces // 2)
        self._real = evenly(np.flatnonzero(labels == REAL), half)
        fakes = evenly(np.flatnonzero(labels == FAKE), half)
        self._faces = np.sort(np.concatenate([self._real, fakes]))
        self._rows = rows_of_faces(store, len(params.preprocess.scales))[self._faces]

    def run(self, model: Detector) -> dict[str, float]:
        """val_loss, val_auc and val_product of a detector in eval mode."""
        logits = crop_logits(model, self._crops(), model.preprocess)
        scores = self._scores(logits)
        quality = self._params.evaluate.compressed_jpeg
        compressed = degraded_logits(
            model, self._store, self._real, jpeg(quality), model.preprocess
        )
        faces = self._store.faces.loc[self._faces]
        labels = faces["label"].to_numpy()
        return {
            "val_loss": self._loss(logits),
            "val_auc": area_under_roc(labels, scores),
            "val_product": product_metric(
                labels, scores, faces["is_inswapper"].to_numpy(), self._scores(compressed)
            ),
        }

    def _crops(self) -> Iterator[ImageU8]:
        return (self._store.crops(int(row)) for row in self._rows.ravel())

    def _scores(self, logits: FaceLogits) -> NDArray[np.float64]:
        """One score a face."""
        real_fake, inswapper, boundary = (sigmoid(logits[name]) for name in FUSED_HEADS)
        crops = fuse_heads(real_fake, inswapper, boundary, self._params.fusion)
        return fuse_crops(crops.reshape(-1, self._rows.shape[1]))

    def _loss(self, logits: FaceLogits) -> float:
        """Weighted loss over the crops, without the seam map."""
        table = self._store.table.loc[self._rows.ravel()]
        targets = {
            head: torch.tensor(table[column].tolist()) for head, column in TARGET_COLUMNS.items()
        }
        outputs = {head: torch.from_numpy(values) for head, values in logits.items()}
        parts = multitask_loss(outputs, targets, self._params.train, self._balance)
        return float(parts["total"])
