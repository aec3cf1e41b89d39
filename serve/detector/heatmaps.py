"""The seam map over the face: where it lies in the image, and drawn for people to look at."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import Face
from pipeline.views.aligned import SQUARE_FRAC, view_matrix
from pipeline.views.cut import cut_view
from pipeline.views.preprocess import Preprocess
from serve.detector.inference import FaceResult, SwapDetector

SIDE_PX = 384
# At most this share of the face is hidden where the seam is certain.
STRENGTH = 0.65
# Top left, top right, bottom right, bottom left of a square of side 1.
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


def seam_map_of(detector: SwapDetector, face: FaceResult) -> dict[str, Any]:
    """JSON-ready: side, values in [0, 1] row by row, and corners in pixels of the image."""
    corners = view_corners(detector.bundle.spec.preprocess, detector.seam_view, face.face)
    return {
        "side": face.seam_map.shape[0],
        "values": [round(float(value), 3) for value in face.seam_map.ravel()],
        "corners": [[round(float(value), 1) for value in corner] for corner in corners],
    }


def view_corners(preprocess: Preprocess, index: int, face: Face) -> FloatArray:
    """(4, 2): where the corners of a view lie: top left, top right, bottom right, bottom left.

    In edges of pixels: the image's own corners are (0, 0) and (width, height).
    Raises ValueError when the aligned view is asked for without keypoints.
    """
    if index < len(preprocess.scales):
        left, top, side = preprocess.square(face.box_xyxy, preprocess.scales[index])
        return np.asarray(CORNERS * side + [left, top], np.float32)
    if face.keypoints is None:
        raise ValueError("the aligned view needs the five keypoints of the face")
    size_px = preprocess.size_px
    inverse = cv2.invertAffineTransform(view_matrix(face.keypoints, size_px, SQUARE_FRAC * size_px))
    # The matrix speaks of the middles of pixels, which lie half a pixel from their edges.
    points = (CORNERS * size_px - 0.5) @ inverse[:, :2].T + inverse[:, 2] + 0.5
    return np.asarray(points, np.float32)


def draw_heatmap(detector: SwapDetector, rgb: ImageU8, face: FaceResult) -> ImageU8:
    """(384, 384, 3) uint8: the view that shows the whole seam, the map laid over it.

    The surer the network is of a paste seam, the stronger the colour; where it sees none the
    image shows through unchanged.
    """
    preprocess = detector.bundle.spec.preprocess
    large = replace(preprocess, size_px=SIDE_PX)
    found = face.face
    patch = cut_view(large, detector.seam_view, rgb, found.box_xyxy, found.keypoints)
    return overlay(patch, face.seam_map)


def overlay(patch: ImageU8, seam_map: FloatArray) -> ImageU8:
    """(H, W, 3) uint8 and a map in [0, 1] of any size -> (H, W, 3) uint8."""
    height, width = patch.shape[:2]
    seam = cv2.resize(seam_map, (width, height), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    bgr = cv2.applyColorMap(np.round(255 * seam).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = STRENGTH * seam[:, :, None]
    mixed = alpha * cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) + (1 - alpha) * patch
    return np.round(mixed).astype(np.uint8)


def write_png(path: Path, rgb: ImageU8) -> None:
    """Write (H, W, 3) uint8; the folder is made if need be. Raises OSError when it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    path.write_bytes(encoded.tobytes())
