"""Evidence about the faces of a split, and the product's decision about each."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.core.arrays import FloatArray
from pipeline.decision.decide import DecisionSpec, decide
from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import fuse_face
from pipeline.decision.scorer import FaceScorer, FaceViews, Network
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.progress import tracked
from pipeline.training.pairs.degradations import Degradation
from pipeline.training.store.reader import FaceStore, image_of
from pipeline.views.aligned import aligned_view
from pipeline.views.paste import require_keypoints


def torch_network(model: nn.Module) -> Network:
    """Wrap a detector in eval mode; it runs on its own device."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def logits(inputs: FloatArray) -> dict[str, FloatArray]:
        with torch.inference_mode():
            batch = torch.from_numpy(inputs).to(device)
            outputs = model(batch.contiguous(memory_format=torch.channels_last))
        return {head: value.float().cpu().numpy() for head, value in outputs.items()}

    return logits


def stored_evidence(
    scorer: FaceScorer,
    store: FaceStore,
    faces: Sequence[int] | None = None,
    *,
    visuals: bool = False,
) -> FaceEvidence:
    """Evidence about faces as they are stored. faces: their numbers; None for all.

    The box crops are the stored ones, which were cropped from the whole frame, as the service does.
    visuals: as in `FaceScorer.of_views`.
    """
    chosen = range(len(store.faces)) if faces is None else faces
    counted = tracked(chosen, len(chosen), "faces")
    return scorer.of_views(_stored_views(scorer, store, counted), visuals=visuals)


def degraded_evidence(
    scorer: FaceScorer, store: FaceStore, faces: Sequence[int], degrade: Degradation
) -> FaceEvidence:
    """Evidence about faces after a degradation of their contexts, from which the crops are cut."""
    counted = tracked(faces, len(faces), "faces")
    return scorer.of_images(degrade(image_of(store, face)) for face in counted)


def _stored_views(
    scorer: FaceScorer, store: FaceStore, faces: Iterable[int]
) -> Iterator[FaceViews]:
    preprocess = scorer.preprocess
    rows = rows_of_faces(store, preprocess.scales)
    for face in faces:
        image = image_of(store, face)
        views = [store.crops(int(row)) for row in rows[face]]
        if preprocess.aligned:
            keypoints = require_keypoints(image.keypoints)
            views.append(aligned_view(image.rgb, keypoints, preprocess.size_px).rgb)
        yield image, np.stack(views)


def rows_of_faces(store: FaceStore, scales: Sequence[float]) -> NDArray[np.int64]:
    """Row numbers of the crops, (faces, scales).

    Raises ManifestError if a face lacks a crop.
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
                f"{int((found < 0).sum())} faces lack it; run crop_faces again"
            )
        columns.append(found)
    return np.stack(columns, axis=1) if columns else np.empty((len(store.faces), 0), np.int64)


def decided(faces: pd.DataFrame, evidence: FaceEvidence, spec: DecisionSpec) -> pd.DataFrame:
    """`faces` with the product's decision: columns score, verdict, surroundings, called (1 for the
    verdict fake, else 0) and view_score_0, view_score_1 ... per view.

    evidence: about the same faces, in their order.
    """
    decisions = [
        decide(evidence[index], spec, face_px=float(face_px))
        for index, face_px in enumerate(faces["face_px"])
    ]
    table = faces.assign(
        score=[decision.score for decision in decisions],
        verdict=[decision.verdict for decision in decisions],
        surroundings=evidence.surroundings,
        called=[float(decision.verdict == "fake") for decision in decisions],
    )
    for view in range(len(decisions[0].view_scores)):
        table[f"view_score_{view}"] = [decision.view_scores[view] for decision in decisions]
    return table


def face_scores(evidence: FaceEvidence, spec: DecisionSpec) -> NDArray[np.float64]:
    """(faces,) the scores of `decide`, for copies whose verdicts are not needed."""
    return fuse_face(evidence, spec.temperature, spec.fusion)
