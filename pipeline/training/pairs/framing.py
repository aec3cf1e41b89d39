"""Random framing of training images: size, crop and softness, before any other degradation."""

from typing import Final

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.sections import PseudoSwapParams
from pipeline.views.aligned import surroundings_frac
from pipeline.views.face_image import FaceImage
from pipeline.views.paste import arcface_square

# Only faces with at least this fraction of their surroundings are cropped tightly.
OPEN_SURROUNDINGS: Final = 0.3
# Margins around the paste square of a tight crop, per side, in sides of the square.
TIGHT_MARGINS: Final = (-0.03, 0.25)
CAMERA_BLUR_PX: Final = (0.3, 0.9)
CAMERA_SHRINKAGE: Final = (0.6, 0.95)


def framed(image: FaceImage, params: PseudoSwapParams, rng: np.random.Generator) -> FaceImage:
    """Change the size, crop and softness of an image, as different cameras and crops would.

    Equal generators apply equal changes to images of the same frame, so a real face and its swap
    stay paired. A face whose square is smaller than square_min_px keeps its size.
    """
    is_resized, lacks_surroundings, is_soft, is_blurred = rng.random(4) < (
        params.resize_frac,
        params.tight_frac,
        params.soft_camera_frac,
        0.5,
    )
    size_draw = float(rng.random())
    blur_px, shrinkage = float(rng.uniform(*CAMERA_BLUR_PX)), float(rng.uniform(*CAMERA_SHRINKAGE))
    margins = rng.uniform(*TIGHT_MARGINS, 4).astype(np.float32)
    image = _at_size(image, params, size_draw, wanted=bool(is_resized))
    if lacks_surroundings:
        image = _tight(image, margins)
    if is_soft:
        soft = _blurred(image.rgb, blur_px) if is_blurred else _resampled(image.rgb, shrinkage)
        image = image.with_rgb(soft)
    return image


def _at_size(image: FaceImage, params: PseudoSwapParams, draw: float, *, wanted: bool) -> FaceImage:
    """Shrink a larger face so that its square's side is log-uniform between the limits.

    draw: uniform in [0, 1). wanted: whether to shrink a face within the limits.
    """
    side, low = image.square_px, float(params.square_min_px)
    high = min(side, float(params.square_max_px))
    if side <= low or not (wanted or side > params.square_max_px):
        return image
    return image.resized(low * (high / low) ** draw / side)


def _tight(image: FaceImage, margins: FloatArray) -> FaceImage:
    """Crop to about the paste square; a face without surroundings stays unchanged."""
    height, width = image.rgb.shape[:2]
    points = image.keypoints
    if points is None or surroundings_frac(points, height, width) < OPEN_SURROUNDINGS:
        return image
    side = image.square_px
    matrix = cv2.invertAffineTransform(arcface_square(points))
    centre = matrix @ np.array([63.5, 63.5, 1])
    low, high = centre - side * (0.5 + margins[:2]), centre + side * (0.5 + margins[2:])
    return image.cut(int(low[0]), int(low[1]), int(np.ceil(high[0])), int(np.ceil(high[1])))


def _blurred(rgb: ImageU8, sigma_px: float) -> ImageU8:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def _resampled(rgb: ImageU8, factor: float) -> ImageU8:
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
