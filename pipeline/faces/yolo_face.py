"""YOLOv8 face models exported to ONNX, supplied by the user as a file."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.onnx_sessions import open_session
from pipeline.faces.detector import Face, keep_best, letterbox
from pipeline.runtime.errors import DetectorError

DEFAULT_SIDE = 640
BOX_ROWS = 5
ROWS_WITH_KEYPOINTS = 20


class YoloFaceDetector:
    """Network with output (1, 20, n): centre, sides, score, then 5 times x, y, visibility.

    Coordinates are in pixels of the network's input. Without keypoints the output is (1, 5, n).
    """

    name = "yolo_face"

    def __init__(self, model_file: str, min_score: float, threads: int = 1) -> None:
        """Raises DetectorError when the file is missing or has another output."""
        path = Path(model_file)
        if not model_file or not path.is_file():
            raise DetectorError(
                "crop_faces.model_file: yolo_face needs a YOLOv8-face .onnx file,"
                f" got {model_file!r}"
            )
        self._session = open_session(path, threads)
        rows = self._session.get_outputs()[0].shape[1]
        if rows not in (BOX_ROWS, ROWS_WITH_KEYPOINTS):
            raise DetectorError(
                f"{path}: the output has {rows!r} rows; a YOLOv8-face model has {BOX_ROWS} or"
                f" {ROWS_WITH_KEYPOINTS}"
            )
        network_input = self._session.get_inputs()[0]
        sides = network_input.shape[2:]
        self._height, self._width = (s if isinstance(s, int) else DEFAULT_SIDE for s in sides)
        self._input_name = network_input.name
        self._min_score = min_score

    def detect(self, rgb: ImageU8) -> list[Face]:
        boxed, scale = letterbox(rgb, self._width, self._height)
        blob = cv2.dnn.blobFromImage(boxed, scalefactor=1 / 255)
        raw = self._session.run(None, {self._input_name: blob})[0][0].T  # (n, 5) or (n, 20)
        return decode(raw[raw[:, 4] >= self._min_score], scale, self._min_score)


def decode(raw: FloatArray, scale: float, min_score: float) -> list[Face]:
    """(n, 5) or (n, 20) rows in pixels of the input -> faces in pixels of the image."""
    centres, sides = raw[:, :2], raw[:, 2:4]
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1) / scale
    points = None
    if raw.shape[1] == ROWS_WITH_KEYPOINTS:
        points = raw[:, BOX_ROWS:].reshape(-1, 5, 3)[:, :, :2] / np.float32(scale)
    return keep_best(corners.astype(np.float32), raw[:, 4], points, min_score)
