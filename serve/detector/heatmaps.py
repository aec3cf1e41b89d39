"""Seam maps: their position in the image, and their rendering over the face."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import Face
from pipeline.views.aligned import SQUARE_FRAC, view_matrix
from pipeline.views.cut import cut_view
from pipeline.views.paste import require_keypoints
from pipeline.views.preprocess import Preprocess
from serve.detector.inference import FaceResult, SwapDetector

SIDE_PX = 384
# Opacity of the colours where the seam map is 1.
STRENGTH = 0.65
# Top left, top right, bottom right, bottom left of the unit square.
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


def seam_map_of(detector: SwapDetector, face: FaceResult) -> dict[str, Any]:
    """JSON-ready seam map: side, values in [0, 1] row by row, corners in image pixels."""
    corners = view_corners(detector.bundle.spec.preprocess, detector.seam_view, face.face)
    return {
        "side": face.seam_map.shape[0],
        "values": [round(float(value), 3) for value in face.seam_map.ravel()],
        "corners": [[round(float(value), 1) for value in corner] for corner in corners],
    }


def view_corners(preprocess: Preprocess, index: int, face: Face) -> FloatArray:
    """Corners of a view in the image, (4, 2): top left, top right, bottom right, bottom left.

    Coordinates refer to pixel edges: the image's corners are (0, 0) and (width, height).
    Raises DetectorError for the aligned view of a face without keypoints.
    """
    if index < len(preprocess.scales):
        left, top, side = preprocess.square(face.box_xyxy, preprocess.scales[index])
        return np.asarray(CORNERS * side + [left, top], np.float32)
    size_px = preprocess.size_px
    inverse = cv2.invertAffineTransform(
        view_matrix(require_keypoints(face.keypoints), size_px, SQUARE_FRAC * size_px)
    )
    # The matrix maps pixel centres, which are half a pixel from the pixel's edges.
    points = (CORNERS * size_px - 0.5) @ inverse[:, :2].T + inverse[:, 2] + 0.5
    return np.asarray(points, np.float32)


def draw_heatmap(detector: SwapDetector, rgb: ImageU8, face: FaceResult) -> ImageU8:
    """The view that shows the whole seam, overlaid with its seam map: (384, 384, 3) uint8.

    Colours are stronger where the network is more certain of a paste seam; where the map is 0 the
    image is unchanged.
    """
    preprocess = detector.bundle.spec.preprocess
    large = replace(preprocess, size_px=SIDE_PX)
    box_xyxy, keypoints = face.face.box_xyxy, face.face.keypoints
    patch = cut_view(large, detector.seam_view, rgb, box_xyxy, keypoints)
    return overlay(patch, face.seam_map)


def overlay(patch: ImageU8, seam_map: FloatArray) -> ImageU8:
    """Overlay a map in [0, 1] of any size on (H, W, 3) uint8 pixels -> (H, W, 3) uint8."""
    height, width = patch.shape[:2]
    seam = cv2.resize(seam_map, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    bgr = cv2.applyColorMap(np.round(255 * seam).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = STRENGTH * seam[:, :, None]
    mixed = alpha * cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) + (1 - alpha) * patch
    return np.round(mixed).astype(np.uint8)
