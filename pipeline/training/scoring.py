"""Faces of a split through the network, and the product's own decision on each."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.decision import DecisionSpec, decide, inside_frac, score_crops
from pipeline.errors import ManifestError
from pipeline.fusion import fuse_crops
from pipeline.preprocess import FloatArray, ImageU8, Preprocess
from pipeline.training.degradations import Degradation
from pipeline.training.store import FaceStore

# A head's logits of every crop of every face: (faces, crops, ...).
FaceLogits = dict[str, FloatArray]
BATCH = 32


def stored_logits(model: nn.Module, store: FaceStore, preprocess: Preprocess) -> FaceLogits:
    """Logits of the stored crops, faces in the store's order, crops by ascending scale."""
    rows = rows_of_faces(store, len(preprocess.scales))
    crops = (store.crops(int(row)) for row in rows.ravel())
    return _by_face(crop_logits(model, crops, preprocess), rows.shape[1])


def degraded_logits(
    model: nn.Module,
    store: FaceStore,
    faces: Iterable[int],
    degrade: Degradation,
    preprocess: Preprocess,
) -> FaceLogits:
    """Logits of chosen faces after a degradation of their contexts, cropped anew."""
    crops = (
        crop
        for face in faces
        for crop in degraded_crops(store, face, degrade, preprocess, preprocess.scales)
    )
    return _by_face(crop_logits(model, crops, preprocess), len(preprocess.scales))


def degraded_crops(
    store: FaceStore,
    face: int,
    degrade: Degradation,
    preprocess: Preprocess,
    scales: Sequence[float],
) -> list[ImageU8]:
    """The crops (size, size, 3) of one face at `scales`, cut from its degraded context."""
    rgb, box_xyxy = degrade(store.context(face), store.box(face))
    return [preprocess.crop(rgb, box_xyxy, scale) for scale in scales]


def crop_logits(model: nn.Module, crops: Iterable[ImageU8], preprocess: Preprocess) -> FaceLogits:
    """Crops (size, size, 3) uint8 -> logits a head, (n, ...) float32. model: in eval mode."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    parts: list[FaceLogits] = []
    for batch in _batches(crops):
        inputs = torch.from_numpy(preprocess.to_input(np.stack(batch))).to(device)
        with torch.inference_mode():
            outputs = model(inputs.contiguous(memory_format=torch.channels_last))
        parts.append({head: value.float().cpu().numpy() for head, value in outputs.items()})
    if not parts:
        raise ValueError("no crops to score")
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def rows_of_faces(store: FaceStore, crops_per_face: int) -> NDArray[np.int64]:
    """(faces, crops): rows of the table, crops by ascending scale.

    Raises ManifestError when a face lacks a crop.
    """
    counts = np.bincount(store.face_of_crop)
    uneven = np.flatnonzero(counts != crops_per_face)
    if len(uneven):
        name = store.faces.at[int(uneven[0]), "face_id"]
        raise ManifestError(
            f"face {name!r}: expected {crops_per_face} crops (preprocess.scales), got "
            f"{counts[uneven[0]]}; {len(uneven)} faces are like this: run crop_faces again"
        )
    scales = store.table["crop_scale"].to_numpy(dtype=np.float64)
    order = np.lexsort((scales, store.face_of_crop))
    return order.reshape(len(counts), crops_per_face)


def inside_fracs(store: FaceStore) -> NDArray[np.float64]:
    """(faces,) as `pipeline.decision.inside_frac`; the context ends where the picture ends."""
    return np.array(
        [
            inside_frac(store.box(face), *store.context(face).shape[:2])
            for face in range(len(store.faces))
        ]
    )


def decided(
    faces: pd.DataFrame, logits: FaceLogits, spec: DecisionSpec, inside: NDArray[np.float64]
) -> pd.DataFrame:
    """`faces` with the columns score, verdict and crop_score_0.. of the product's own decision.

    logits: (len(faces), crops, ...). inside: (len(faces),).
    """
    decisions = [
        decide(
            {head: values[index] for head, values in logits.items()},
            spec,
            face_px=float(face_px),
            inside_frac=float(inside[index]),
        )
        for index, face_px in enumerate(faces["face_px"])
    ]
    table = faces.assign(
        score=[decision.score for decision in decisions],
        verdict=[decision.verdict for decision in decisions],
    )
    for crop in range(len(decisions[0].crop_scores)):
        table[f"crop_score_{crop}"] = [decision.crop_scores[crop] for decision in decisions]
    return table


def face_scores(logits: FaceLogits, spec: DecisionSpec) -> NDArray[np.float64]:
    """(faces,) the scores of `decide`, for copies whose verdicts are not asked for."""
    return fuse_crops(score_crops(logits, spec.temperature, spec.fusion))


def taken(logits: FaceLogits, faces: NDArray[np.int64]) -> FaceLogits:
    """The logits of some faces."""
    return {head: values[faces] for head, values in logits.items()}


def evenly(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the indices, evenly spaced, in their order: the same ones each time."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]


def _by_face(logits: FaceLogits, crops_per_face: int) -> FaceLogits:
    return {h: v.reshape(-1, crops_per_face, *v.shape[1:]) for h, v in logits.items()}


def _batches(crops: Iterable[ImageU8]) -> Iterator[list[ImageU8]]:
    stream = iter(crops)
    while batch := list(islice(stream, BATCH)):
        yield batch
