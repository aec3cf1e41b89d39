"""Fixed image degradations for calibration and evaluation.

They apply to a face's context at its native resolution, before any crop, as in the wild.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import numpy as np

from pipeline.media.video import read_frames
from pipeline.media.video_writer import write_video
from pipeline.views.face_image import FaceImage

Degradation = Callable[[FaceImage], FaceImage]
# Side of a typical paste square in px; larger squares are blurred in proportion.
TYPICAL_SQUARE_PX: Final = 230.0


def as_it_is(image: FaceImage) -> FaceImage:
    """Return the image unchanged."""
    return image


def jpeg(quality: int) -> Degradation:
    """JPEG compression with 4:2:0 colour at a quality of 1 to 100."""

    def degrade(image: FaceImage) -> FaceImage:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _, encoded = cv2.imencode(".jpg", image.rgb[..., ::-1], options)
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
        return image.with_rgb(np.ascontiguousarray(decoded[..., ::-1]))

    return degrade


def blur(sigma_px: float) -> Degradation:
    """Gaussian blur of the whole image, with a standard deviation in pixels."""

    def degrade(image: FaceImage) -> FaceImage:
        blurred = cv2.GaussianBlur(image.rgb, (0, 0), sigma_px)
        return image.with_rgb(np.asarray(blurred, np.uint8))

    return degrade


def blur_square(sigma_px: float) -> Degradation:
    """Gaussian blur with a sigma given for a typical paste square; larger squares get more."""

    def degrade(image: FaceImage) -> FaceImage:
        return blur(sigma_px * max(1.0, image.square_px / TYPICAL_SQUARE_PX))(image)

    return degrade


def through_square(side_px: float) -> Degradation:
    """Shrink until the paste square is `side_px` wide, then enlarge to the original size.

    At 128 the whole image is as soft as INSwapper's face. Smaller squares stay unchanged.
    """

    def degrade(image: FaceImage) -> FaceImage:
        factor = side_px / image.square_px
        if factor >= 1:
            return image
        height, width = image.rgb.shape[:2]
        small = image.resized(factor).rgb
        enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        return image.with_rgb(np.asarray(enlarged, np.uint8))

    return degrade


def shrink(factor: float) -> Degradation:
    """Scale both sides by `factor` in (0, 1], with box and keypoints."""
    return lambda image: image.resized(factor)


def shrink_face(side_px: float) -> Degradation:
    """Shrink until the longer side of the box is `side_px`; smaller faces stay unchanged."""

    def degrade(image: FaceImage) -> FaceImage:
        longer = image.face_px
        return image.resized(side_px / longer) if longer > side_px else image

    return degrade


def x264(crf: int) -> Degradation:
    """One H.264 key frame at a constant rate factor of 0 (best) to 51; odd sides lose a pixel."""

    def degrade(image: FaceImage) -> FaceImage:
        height, width = image.rgb.shape[:2]
        even = image.cut(0, 0, width // 2 * 2, height // 2 * 2)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "frame.mp4"
            write_video(path, [even.rgb], 25, crf=crf)
            _, _, decoded = next(iter(read_frames(path)))
        return even.with_rgb(decoded)

    return degrade


def cover_face(times_box: float) -> Degradation:
    """Cover the face with a square of `times_box` the box's longer side, in the mean colour around.

    At 1.8 it hides INSwapper's paste square, which is 1.65 times the box's width and 1.42 times its
    height. Only background, camera and codec remain visible.
    """

    def degrade(image: FaceImage) -> FaceImage:
        rgb = image.rgb
        x0, y0, x1, y1 = (float(value) for value in image.box_xyxy)
        half = times_box * max(x1 - x0, y1 - y0) / 2
        left, right = (max(0, round((x0 + x1) / 2 + side)) for side in (-half, half))
        top, bottom = (max(0, round((y0 + y1) / 2 + side)) for side in (-half, half))
        outside = np.ones(rgb.shape[:2], dtype=bool)
        outside[top:bottom, left:right] = False
        covered = rgb.copy()
        covered[~outside] = rgb[outside].mean(axis=0).round() if outside.any() else 128
        return image.with_rgb(covered)

    return degrade


@dataclass(frozen=True)
class DegradedCopy:
    """A degraded copy of a real face; size_factor: side of its face relative to the original."""

    degrade: Degradation
    size_factor: float = 1.0


# Degradations of real faces by phones and websites; the low-FPR threshold is set on these too. Some
# are relative to the square, because large studio portraits, of which there are many, would
# otherwise never become soft: with absolute degradations alone, 16 of 21 real faces that fill a
# small image were flagged fake.
DEGRADED_COPIES = {
    "blur": DegradedCopy(blur_square(1.2)),
    "half": DegradedCopy(shrink(0.5), 0.5),
    "jpeg40": DegradedCopy(jpeg(40)),
    "third": DegradedCopy(shrink(0.35), 0.35),
    "square128": DegradedCopy(through_square(128)),
    # Large enough to be scored whenever the stored face is.
    "small": DegradedCopy(shrink_face(96)),
}
