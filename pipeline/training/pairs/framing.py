"""A face in its image on the way to training: what lies where while the image changes."""

from typing import Final

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.sections import PseudoSwapParams
from pipeline.views.aligned import surroundings_frac
from pipeline.views.face_image import FaceImage
from pipeline.views.paste import arcface_square

# Only faces with surroundings are framed tightly, and then as a stranger might have cut the photo.
OPEN_SURROUNDINGS: Final = 0.3
TIGHT_MARGINS: Final = (-0.03, 0.25)
CAMERA_BLUR_PX: Final = (0.3, 0.9)
CAMERA_SHRINKAGE: Final = (0.6, 0.95)


def framed(image: FaceImage, params: PseudoSwapParams, rng: np.random.Generator) -> FaceImage:
    """An image as another camera, from elsewhere and cut by somebody else, might show it.

    Drawn alike for a real face and its swap: equal generators do equal things to images of the
    same scene. A face smaller than square_min_px keeps its size.
    """
    is_resized, lacks_surroundings, is_soft, is_blurred = rng.random(4) < (
        params.resize_frac,
        params.tight_frac,
        params.soft_camera_frac,
        0.5,
    )
    size_lot = float(rng.random())
    blur_px, shrinkage = float(rng.uniform(*CAMERA_BLUR_PX)), float(rng.uniform(*CAMERA_SHRINKAGE))
    margins = rng.uniform(*TIGHT_MARGINS, 4).astype(np.float32)
    image = _at_size(image, params, size_lot, wanted=bool(is_resized))
    if lacks_surroundings:
        image = _tight(image, margins)
    if is_soft:
        soft = _blurred(image.rgb, blur_px) if is_blurred else _resampled(image.rgb, shrinkage)
        image = image.with_rgb(soft)
    return image


def _at_size(image: FaceImage, params: PseudoSwapParams, lot: float, *, wanted: bool) -> FaceImage:
    """Shrink so that the square's side is log-uniform between the limits, where it is larger."""
    side, low = image.square_px, float(params.square_min_px)
    high = min(side, float(params.square_max_px))
    if side <= low or not (wanted or side > params.square_max_px):
        return image
    return image.resized(low * (high / low) ** lot / side)


def _tight(image: FaceImage, margins: FloatArray) -> FaceImage:
    """Cut to about the paste square; a face without surroundings stays as it is."""
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
