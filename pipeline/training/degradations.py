"""What happens to pictures on their way: fixed degradations for calibration and evaluation.

They act on a face's context at its native resolution, before any crop, as they would in the wild.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from pipeline.preprocess import FloatArray, ImageU8
from pipeline.video import read_frames, write_video

# (H, W, 3) uint8 and a box (4,) in its pixels -> the degraded picture and the box in it.
Degradation = Callable[[ImageU8, FloatArray], tuple[ImageU8, FloatArray]]


def jpeg(quality: int) -> Degradation:
    """JPEG with 4:2:0 colour at a quality of 1 to 100."""

    def degrade(rgb: ImageU8, box_xyxy: FloatArray) -> tuple[ImageU8, FloatArray]:
        _, encoded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
        return decoded[..., ::-1], box_xyxy

    return degrade


def blur(sigma_px: float) -> Degradation:
    """Gaussian blur of the whole picture."""

    def degrade(rgb: ImageU8, box_xyxy: FloatArray) -> tuple[ImageU8, FloatArray]:
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), dtype=np.uint8), box_xyxy

    return degrade


def shrink(factor: float) -> Degradation:
    """Shrink to `factor` (0 to 1] of both sides; the box shrinks along."""

    def degrade(rgb: ImageU8, box_xyxy: FloatArray) -> tuple[ImageU8, FloatArray]:
        height, width = rgb.shape[:2]
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        scale = np.array([size[0] / width, size[1] / height] * 2, dtype=np.float32)
        return small, box_xyxy * scale

    return degrade


def shrink_face(side_px: float) -> Degradation:
    """Shrink until the longer side of the box is `side_px`; smaller faces are left as they are."""

    def degrade(rgb: ImageU8, box_xyxy: FloatArray) -> tuple[ImageU8, FloatArray]:
        longer = float(max(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]))
        return shrink(side_px / longer)(rgb, box_xyxy) if longer > side_px else (rgb, box_xyxy)

    return degrade


def x264(crf: int) -> Degradation:
    """One H.264 key frame at a constant rate factor of 0 (best) to 51; odd sides lose a pixel."""

    def degrade(rgb: ImageU8, box_xyxy: FloatArray) -> tuple[ImageU8, FloatArray]:
        even = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
        with TemporaryDirectory() as folder:
            path = Path(folder) / "frame.mp4"
            write_video(path, [even], 25, crf=crf)
            _, _, decoded = next(iter(read_frames(path)))
        return decoded, box_xyxy

    return degrade


def cover_face(times_box: float) -> Degradation:
    """Paint a square over the face, `times_box` its box's longer side, in the colour around it.

    At 1.8 it hides INSwapper's paste square, which is 1.65 times the box's width and 1.42 times its
    height: what is left is background, camera and codec.
    """

    def degrade(rgb: ImageU8, box_xyxy: FloatArray) -> tuple[ImageU8, FloatArray]:
        x0, y0, x1, y1 = (float(value) for value in box_xyxy)
        half = times_box * max(x1 - x0, y1 - y0) / 2
        left, right = (max(0, round((x0 + x1) / 2 + side)) for side in (-half, half))
        top, bottom = (max(0, round((y0 + y1) / 2 + side)) for side in (-half, half))
        outside = np.ones(rgb.shape[:2], dtype=bool)
        outside[top:bottom, left:right] = False
        covered = rgb.copy()
        covered[~outside] = rgb[outside].mean(axis=0).round() if outside.any() else 128
        return covered, box_xyxy

    return degrade


@dataclass(frozen=True)
class SoftCopy:
    """A softened copy of a real face; `size_factor` is what is left of the face's side."""

    degrade: Degradation
    size_factor: float = 1.0


# Real faces as phones and websites leave them; the low-FPR threshold is set on these too.
SOFT_COPIES = {
    "blur": SoftCopy(blur(1.2)),
    "half": SoftCopy(shrink(0.5), 0.5),
    "jpeg40": SoftCopy(jpeg(40)),
    "third": SoftCopy(shrink(0.35), 0.35),
}
