"""The seam map over the face, for people to look at."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.preprocess import FloatArray, ImageU8
from pipeline.views import cut_view
from serve.inference import FaceResult, SwapDetector

SIDE_PX = 384
# At most this share of the face is hidden where the seam is certain.
STRENGTH = 0.65


def draw_heatmap(detector: SwapDetector, rgb: ImageU8, face: FaceResult) -> ImageU8:
    """(384, 384, 3) uint8: the view that shows the whole seam, the map laid over it.

    The surer the network is of a paste seam, the stronger the colour; where it sees none the
    picture shows through unchanged.
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
