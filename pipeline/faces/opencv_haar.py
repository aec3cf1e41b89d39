"""OpenCV's frontal-face cascade, for development (Viola & Jones 2001).

It finds no keypoints. Those of an average upright face are placed in its box so that everything
runs; the paste square computed from them is off by several per cent.
"""

from pathlib import Path

import cv2
import cv2.data
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import Face
from pipeline.runtime.errors import DetectorError

CASCADE = "haarcascade_frontalface_default.xml"
# The cascade's last-stage weights have no upper bound; typical faces reach 3 to 8.
HALF_SCORE_WEIGHT = 3.0
# Keypoints relative to the cascade's box, means over 182 photos (deviation 0.03 to 0.08).
AVERAGE_KEYPOINTS = np.array(
    [[0.311, 0.385], [0.679, 0.384], [0.494, 0.605], [0.335, 0.755], [0.656, 0.755]], np.float32
)


class HaarDetector:
    """The frontal-face cascade that OpenCV 4 ships."""

    name = "opencv_haar"

    def __init__(self) -> None:
        path = Path(cv2.data.haarcascades) / CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise DetectorError(
                f"{path}: cannot be loaded; OpenCV 4 includes it, OpenCV 5 does not"
            )

    def detect(self, rgb: ImageU8) -> list[Face]:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=4, outputRejectLevels=True
        )
        return [
            Face(
                box_xyxy=np.array([x, y, x + width, y + height], np.float32),
                keypoints=_average_keypoints(x, y, width, height),
                score=pseudo_score(float(weight)),
            )
            for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True)
        ]


def _average_keypoints(x: int, y: int, width: int, height: int) -> FloatArray:
    size, corner = np.array([width, height], np.float32), np.array([x, y], np.float32)
    return AVERAGE_KEYPOINTS * size + corner


def pseudo_score(weight: float) -> float:
    """Rank in [0, 1) that increases with the weight of the last stage; not a probability."""
    positive = max(weight, 0.0)
    return positive / (positive + HALF_SCORE_WEIGHT)
