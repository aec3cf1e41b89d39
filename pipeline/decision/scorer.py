"""From a face in its image to evidence: the same code for training, evaluation and service."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.decision.evidence import FaceEvidence
from pipeline.seam.features import outside_detail, seam_features
from pipeline.seam.rings import ring_statistics
from pipeline.seam.trees import TreeEnsemble
from pipeline.views.cut import cut_views, surroundings_of, view_names
from pipeline.views.face_image import FaceImage
from pipeline.views.paste import require_keypoints
from pipeline.views.preprocess import Preprocess

# Views per call of the network; more would take memory and save no time.
BATCH: Final = 32
SEAM_MAP: Final = "seam_map"

# (n, 3, size, size) float32 from `Preprocess.to_input` -> logits per head, (n, ...).
Network = Callable[[FloatArray], Mapping[str, FloatArray]]
# A face in its image, and its views (views, size, size, 3) uint8 in the order of `view_names`.
FaceViews = tuple[FaceImage, ImageU8]


@dataclass(frozen=True, eq=False)
class FaceScorer:
    """A network and the seam trees behind one interface. trees: None for the network alone."""

    network: Network
    preprocess: Preprocess
    trees: TreeEnsemble | None = None

    def of_images(self, faces: Iterable[FaceImage], *, visuals: bool = False) -> FaceEvidence:
        """Evidence about faces whose views are cut from their images; as `of_views`."""
        cut = ((f, cut_views(self.preprocess, f.rgb, f.box_xyxy, f.keypoints)) for f in faces)
        return self.of_views(cut, visuals=visuals)

    def of_views(self, faces: Iterable[FaceViews], *, visuals: bool = False) -> FaceEvidence:
        """Evidence about one or more faces, in their order; images are read as they are needed.

        visuals: keep seam maps and ring statistics, some 30 kB per face. Raises DetectorError for a
        face without keypoints where they are needed, ValueError without faces.
        """
        size = max(1, BATCH // len(view_names(self.preprocess)))
        parts = [self._batch(batch, visuals=visuals) for batch in _batches(faces, size)]
        if not parts:
            raise ValueError("no faces to score")
        return FaceEvidence.concatenated(parts)

    def _batch(self, faces: Sequence[FaceViews], *, visuals: bool) -> FaceEvidence:
        views = np.concatenate([views for _, views in faces])  # (faces * views, size, size, 3)
        logits = {
            head: values.reshape(len(faces), -1, *values.shape[1:])
            for head, values in self.network(self.preprocess.to_input(views)).items()
        }
        images = [image for image, _ in faces]
        rings = trees = detail = None
        if self.trees is not None:
            rings = np.stack(
                [ring_statistics(i.rgb, require_keypoints(i.keypoints)) for i in images]
            )
            features = seam_features(rings)
            trees, detail = self.trees.logits(features), outside_detail(features).astype(np.float64)
        around = [surroundings_of(i.box_xyxy, i.keypoints, *i.rgb.shape[:2]) for i in images]
        return FaceEvidence(
            real_fake=logits["real_fake"],
            inswapper=logits["inswapper"],
            boundary=logits["boundary"],
            quality=logits["quality"],
            surroundings=np.array(around, np.float64),
            trees=trees,
            detail=detail,
            seam_map=logits[SEAM_MAP] if visuals else None,
            rings=rings if visuals else None,
        )


def _batches(faces: Iterable[FaceViews], size: int) -> Iterator[list[FaceViews]]:
    stream = iter(faces)
    while batch := list(islice(stream, size)):
        yield batch
