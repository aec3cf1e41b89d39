"""Genuine swaps and real faces from outside the data root, degraded for the ablation."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import FAKE
from pipeline.faces.detector import FaceDetector, find_faces
from pipeline.runtime.errors import ManifestError
from pipeline.training.pairs.degradations import Degradation, as_it_is, blur, jpeg, shrink
from pipeline.views.face_image import FaceImage

# Degradations of reals and of fakes in each cell of the ablation.
CELLS: Final[dict[str, tuple[Degradation, Degradation]]] = {
    "clean": (as_it_is, as_it_is),
    "jpeg50": (jpeg(50), jpeg(50)),
    "both_blurred": (blur(1.0), blur(1.0)),
    "half_size": (shrink(0.5), shrink(0.5)),
    "reals_blurred": (blur(1.0), as_it_is),
}


@dataclass(frozen=True, eq=False)
class GenuineSet:
    """Images of genuine swaps and of real faces.

    labels: (n,) of the images. missed: number of images in which no face was found.
    """

    images: list[FaceImage]
    labels: NDArray[np.int64]
    missed: int


def read_genuine(labels_csv: Path, detector: FaceDetector) -> GenuineSet:
    """Read a CSV with image_path (relative to the CSV) and label; find each image's largest face.

    Raises ManifestError that names the row of an unreadable image.
    """
    images, labels, missed = [], [], 0
    with labels_csv.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows, start=2):
        bgr = cv2.imread(str(labels_csv.parent / row["image_path"]))
        if bgr is None:
            raise ManifestError(f"{labels_csv}: row {number}: image_path: cannot be read")
        rgb = np.asarray(bgr[..., ::-1].copy(), np.uint8)
        faces = find_faces(detector, rgb, min_score=0.5, min_face_px=20, max_faces=1)
        if not faces:
            missed += 1
            continue
        images.append(FaceImage(rgb, faces[0].box_xyxy, faces[0].keypoints))
        labels.append(int(row["label"]))
    return GenuineSet(images, np.array(labels, np.int64), missed)


def cell_of(genuine: GenuineSet, name: str) -> list[FaceImage]:
    """The images with the degradations of the cell `name`."""
    pairs = zip(genuine.images, genuine.labels, strict=True)
    return [CELLS[name][label](image) for image, label in pairs]


def counts_of(genuine: GenuineSet | None) -> dict[str, int] | None:
    """Numbers of fakes, reals and missed images, for metrics/ablation.json."""
    if genuine is None:
        return None
    fakes = int((genuine.labels == FAKE).sum())
    return {"n_fake": fakes, "n_real": len(genuine.labels) - fakes, "missed": genuine.missed}
