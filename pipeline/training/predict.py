"""Scores of a whole split, in the manifest's order."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.fusion import sigmoid, softmax
from pipeline.preprocess import ImageU8
from pipeline.training.model import Detector
from pipeline.training.store import FaceStore

BINARY_HEADS = ("real_fake", "inswapper", "boundary")
Degrade = Callable[[ImageU8], ImageU8]


def predict_crops(
    model: Detector,
    store: FaceStore,
    batch_size: int = 32,
    *,
    rows: Sequence[int] | None = None,
    degrade: Degrade | None = None,
) -> pd.DataFrame:
    """Score stored crops with a detector in eval mode.

    rows: of `store.table`, in the order wanted; default all. degrade: applied to each crop
    ((S, S, 3) uint8 -> same), for what-if sets such as recompressed reals.
    Returns the manifest's columns, indexed by row, and per crop p_real_fake, p_inswapper,
    p_boundary, p_quality0..2 in [0, 1] and the logits of the same names (logit_...).
    """
    chosen = list(range(len(store.table))) if rows is None else [int(row) for row in rows]
    logits = predict_logits(model, store, chosen, batch_size, degrade)
    table = store.table.iloc[chosen].copy()
    for name in BINARY_HEADS:
        table[f"logit_{name}"] = logits[name]
        table[f"p_{name}"] = sigmoid(logits[name])
    quality = softmax(logits["quality"])
    for level in range(quality.shape[1]):
        table[f"logit_quality{level}"] = logits["quality"][:, level]
        table[f"p_quality{level}"] = quality[:, level]
    return table


def predict_logits(
    model: Detector,
    store: FaceStore,
    rows: Sequence[int],
    batch_size: int,
    degrade: Degrade | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Logits of the heads but the seam map: (n,), quality (n, 3), in the order of `rows`."""
    device = next(model.parameters()).device
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*BINARY_HEADS, "quality")}
    with torch.inference_mode():
        for crops in _batches(store, rows, batch_size, degrade):
            inputs = torch.from_numpy(model.preprocess.to_input(crops)).to(device)
            outputs = model(inputs.contiguous(memory_format=torch.channels_last))
            for name, values in parts.items():
                values.append(outputs[name].double().cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _batches(
    store: FaceStore, rows: Sequence[int], batch_size: int, degrade: Degrade | None
) -> Iterator[ImageU8]:
    for start in range(0, len(rows), batch_size):
        crops = [store.crops(row) for row in rows[start : start + batch_size]]
        yield np.stack(crops if degrade is None else [degrade(crop) for crop in crops])
