"""Faces of a split through the network, and the product's own decision on each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.decision.decide import DecisionSpec, decide
from pipeline.decision.fusion import DETAIL, SEAM, SURROUNDINGS, fuse_face
from pipeline.runtime.errors import ManifestError
from pipeline.seam.features import outside_detail, seam_features
from pipeline.seam.rings import ring_statistics
from pipeline.seam.trees import TreeEnsemble
from pipeline.training.pairs.degradations import Degradation
from pipeline.training.store.reader import FaceStore, image_of, surroundings_fracs
from pipeline.views.aligned import aligned_view
from pipeline.views.cut import cut_views, surroundings_of, view_names
from pipeline.views.face_image import FaceImage
from pipeline.views.preprocess import Preprocess

# A head's logits of every view of every face, (faces, views, ...); under SEAM and DETAIL what the
# seam's numbers say and under SURROUNDINGS how much of them there is, (faces,).
FaceLogits = dict[str, FloatArray]
SEAM_MAP = "seam_map"
BATCH = 32


@dataclass(frozen=True, eq=False)
class Scorer:
    """What gives a face its logits. network: in eval mode. trees: of the seam's numbers, if any."""

    network: nn.Module
    preprocess: Preprocess
    trees: TreeEnsemble | None = None

    def stored(self, store: FaceStore) -> FaceLogits:
        """Logits of the stored crops and of the aligned views, faces in the store's order."""
        return self.of_faces(store, range(len(store.faces)))

    def of_faces(self, store: FaceStore, faces: Iterable[int]) -> FaceLogits:
        """Logits of some faces as they are stored."""
        rows = rows_of_faces(store, self.preprocess.scales)
        chosen = list(faces)
        views = (view for face in chosen for view in self._stored_views(store, face, rows[face]))
        logits = self.views(views)
        images = (image_of(store, face) for face in chosen)
        shares = surroundings_fracs(store, chosen).astype(np.float32)
        return logits | self._seam(images) | {SURROUNDINGS: shares}

    def degraded(self, store: FaceStore, faces: Iterable[int], degrade: Degradation) -> FaceLogits:
        """Logits of some faces after a degradation of their contexts, cut anew."""
        return self.images(degrade(image_of(store, face)) for face in faces)

    def images(self, images: Iterable[FaceImage]) -> FaceLogits:
        """Logits of images of one face each, without seam maps.

        A map is 4 KiB a view and decides nothing: of many copies they would fill the memory.
        """
        statistics: list[FloatArray] = []
        shares: list[float] = []

        def views() -> Iterator[ImageU8]:
            for image in images:
                if self.trees is not None:
                    statistics.append(ring_statistics(image.rgb, _keypoints(image)))
                size = image.rgb.shape[:2]
                shares.append(surroundings_of(image.box_xyxy, image.keypoints, *size))
                yield from cut_views(self.preprocess, image.rgb, image.box_xyxy, image.keypoints)

        logits = self.views(views(), seam_maps=False)
        around = {SURROUNDINGS: np.array(shares, np.float32)}
        return logits | self._seam_logits(statistics) | around

    def views(self, views: Iterable[ImageU8], *, seam_maps: bool = True) -> FaceLogits:
        """Views (size, size, 3) uint8, face after face -> logits without those of the trees."""
        logits = crop_logits(self.network, views, self.preprocess, seam_maps=seam_maps)
        count = len(view_names(self.preprocess))
        return {head: v.reshape(-1, count, *v.shape[1:]) for head, v in logits.items()}

    def _stored_views(
        self, store: FaceStore, face: int, rows: NDArray[np.int64]
    ) -> Iterator[ImageU8]:
        yield from (store.crops(int(row)) for row in rows)
        if self.preprocess.aligned:
            image = image_of(store, face)
            yield aligned_view(image.rgb, _keypoints(image), self.preprocess.size_px).rgb

    def _seam(self, images: Iterable[FaceImage]) -> FaceLogits:
        if self.trees is None:
            return {}
        return self._seam_logits([ring_statistics(p.rgb, _keypoints(p)) for p in images])

    def _seam_logits(self, statistics: Sequence[FloatArray]) -> FaceLogits:
        if self.trees is None:
            return {}
        numbers = seam_features(np.stack(statistics))
        return {
            SEAM: self.trees.logits(numbers).astype(np.float32),
            DETAIL: outside_detail(numbers),
        }


def crop_logits(
    model: nn.Module, crops: Iterable[ImageU8], preprocess: Preprocess, *, seam_maps: bool = True
) -> FaceLogits:
    """Crops (size, size, 3) uint8 -> logits a head, (n, ...) float32. model: in eval mode."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    parts: list[FaceLogits] = []
    for batch in _batches(crops):
        inputs = torch.from_numpy(preprocess.to_input(np.stack(batch))).to(device)
        with torch.inference_mode():
            outputs = model(inputs.contiguous(memory_format=torch.channels_last))
        kept = {head: v for head, v in outputs.items() if seam_maps or head != SEAM_MAP}
        parts.append({head: value.float().cpu().numpy() for head, value in kept.items()})
    if not parts:
        raise ValueError("no crops to score")
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def rows_of_faces(store: FaceStore, scales: Sequence[float]) -> NDArray[np.int64]:
    """(faces, scales): rows of the table.

    Raises ManifestError when a face lacks a crop.
    """
    columns = []
    for scale in scales:
        rows = np.flatnonzero(store.table["crop_scale"].to_numpy() == scale)
        found = np.full(len(store.faces), -1, np.int64)
        found[store.face_of_crop[rows]] = rows
        if (found < 0).any():
            name = store.faces.at[int(np.argmin(found)), "face_id"]
            raise ManifestError(
                f"face {name!r}: no crop of scale {scale:g} (preprocess.scales); "
                f"{int((found < 0).sum())} faces are like this: run crop_faces again"
            )
        columns.append(found)
    return np.stack(columns, axis=1) if columns else np.empty((len(store.faces), 0), np.int64)


def decided(
    faces: pd.DataFrame, logits: FaceLogits, spec: DecisionSpec, surroundings: NDArray[np.float64]
) -> pd.DataFrame:
    """`faces` with the product's own decision: columns score, verdict, surroundings, called (1 for
    the verdict fake, else 0) and view_score_0.. of each view.

    logits: (len(faces), views, ...). surroundings: (len(faces),).
    """
    decisions = [
        decide(
            {head: values[index] for head, values in logits.items()},
            spec,
            face_px=float(face_px),
            surroundings=float(surroundings[index]),
        )
        for index, face_px in enumerate(faces["face_px"])
    ]
    table = faces.assign(
        score=[decision.score for decision in decisions],
        verdict=[decision.verdict for decision in decisions],
        surroundings=surroundings,
        called=[float(decision.verdict == "fake") for decision in decisions],
    )
    for view in range(len(decisions[0].view_scores)):
        table[f"view_score_{view}"] = [decision.view_scores[view] for decision in decisions]
    return table


def face_scores(logits: FaceLogits, spec: DecisionSpec) -> NDArray[np.float64]:
    """(faces,) the scores of `decide`, for copies whose verdicts are not asked for."""
    return fuse_face(logits, spec.temperature, spec.fusion)


def taken(logits: FaceLogits, faces: NDArray[np.int64]) -> FaceLogits:
    """The logits of some faces."""
    return {head: values[faces] for head, values in logits.items()}


def _keypoints(image: FaceImage) -> FloatArray:
    if image.keypoints is None:
        raise ManifestError(
            "a face without keypoints: the aligned view and the seam's numbers need them; choose"
            " another crop_faces.detector, or model.views without aligned"
        )
    return image.keypoints


def _batches(crops: Iterable[ImageU8]) -> Iterator[list[ImageU8]]:
    stream = iter(crops)
    while batch := list(islice(stream, BATCH)):
        yield batch
