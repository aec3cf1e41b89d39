"""A face in its picture on the way to training: what lies where while the picture changes."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import cv2
import numpy as np

from pipeline.aligned import surroundings_frac
from pipeline.param_sections import PseudoSwapParams
from pipeline.preprocess import FloatArray, ImageU8
from pipeline.seam import arcface_square, square_px

# Only faces with surroundings are framed tightly, and then as a stranger might have cut the photo.
OPEN_SURROUNDINGS: Final = 0.3
TIGHT_MARGINS: Final = (-0.03, 0.25)
CAMERA_BLUR_PX: Final = (0.3, 0.9)
CAMERA_SHRINKAGE: Final = (0.6, 0.95)


@dataclass(frozen=True, eq=False)
class Picture:
    """rgb: (H, W, 3) uint8. box_xyxy: (4,), keypoints: (5, 2) or None, in its pixels. alpha: (H, W)
    float32, opacity of a paste; None when not known."""

    rgb: ImageU8
    box_xyxy: FloatArray
    keypoints: FloatArray | None
    alpha: FloatArray | None = None

    @cached_property
    def square_px(self) -> float:
        """Side of the paste square; without keypoints that of a typical one for the box."""
        if self.keypoints is not None:
            return square_px(arcface_square(self.keypoints))
        return 1.42 * self.face_px

    @property
    def face_px(self) -> float:
        """Longer side of the box."""
        x0, y0, x1, y1 = (float(value) for value in self.box_xyxy)
        return max(x1 - x0, y1 - y0)

    def with_rgb(self, rgb: ImageU8) -> "Picture":
        """The same face after a change that moves nothing."""
        return replace(self, rgb=rgb)

    def resized(self, factor: float, interpolation: int = cv2.INTER_AREA) -> "Picture":
        """Both sides times `factor`, to whole pixels."""
        height, width = self.rgb.shape[:2]
        size = (max(8, round(width * factor)), max(8, round(height * factor)))
        ratio = np.array([size[0] / width, size[1] / height], np.float32)
        points = self.keypoints
        alpha = self.alpha
        return Picture(
            rgb=np.asarray(cv2.resize(self.rgb, size, interpolation=interpolation), np.uint8),
            box_xyxy=np.asarray(self.box_xyxy * np.tile(ratio, 2), np.float32),
            # Centres of pixels, unlike edges of boxes, lie half a pixel inside.
            keypoints=None if points is None else np.asarray((points + 0.5) * ratio - 0.5),
            alpha=None if alpha is None else np.asarray(cv2.resize(alpha, size), np.float32),
        )

    def cut(self, left: int, top: int, right: int, bottom: int) -> "Picture":
        """The rectangle of whole pixels, as far as the picture reaches."""
        height, width = self.rgb.shape[:2]
        x0, y0 = min(max(0, left), width - 8), min(max(0, top), height - 8)
        region = np.s_[y0 : max(y0 + 8, bottom), x0 : max(x0 + 8, right)]
        shift = np.array([x0, y0], np.float32)
        return Picture(
            rgb=np.ascontiguousarray(self.rgb[region]),
            box_xyxy=self.box_xyxy - np.tile(shift, 2),
            keypoints=None if self.keypoints is None else self.keypoints - shift,
            alpha=None if self.alpha is None else np.ascontiguousarray(self.alpha[region]),
        )


def framed(picture: Picture, params: PseudoSwapParams, rng: np.random.Generator) -> Picture:
    """A picture as another camera, from elsewhere and cut by somebody else, might show it.

    Drawn alike for a real face and its swap: equal generators do equal things to pictures of the
    same scene. A face smaller than square_min_px keeps its size.
    """
    is_resized, is_tight, is_soft, is_blurred = rng.random(4) < (
        params.resize_frac,
        params.tight_frac,
        params.soft_camera_frac,
        0.5,
    )
    size_lot = float(rng.random())
    blur_px, shrinkage = float(rng.uniform(*CAMERA_BLUR_PX)), float(rng.uniform(*CAMERA_SHRINKAGE))
    margins = rng.uniform(*TIGHT_MARGINS, 4).astype(np.float32)
    picture = _at_size(picture, params, size_lot, wanted=bool(is_resized))
    if is_tight:
        picture = _tight(picture, margins)
    if is_soft:
        soft = _blurred(picture.rgb, blur_px) if is_blurred else _resampled(picture.rgb, shrinkage)
        picture = picture.with_rgb(soft)
    return picture


def _at_size(picture: Picture, params: PseudoSwapParams, lot: float, *, wanted: bool) -> Picture:
    """Shrink so that the square's side is log-uniform between the limits, where it is larger."""
    side, low = picture.square_px, float(params.square_min_px)
    high = min(side, float(params.square_max_px))
    if side <= low or not (wanted or side > params.square_max_px):
        return picture
    return picture.resized(low * (high / low) ** lot / side)


def _tight(picture: Picture, margins: FloatArray) -> Picture:
    """Cut to about the paste square; a face without surroundings stays as it is."""
    height, width = picture.rgb.shape[:2]
    points = picture.keypoints
    if points is None or surroundings_frac(points, height, width) < OPEN_SURROUNDINGS:
        return picture
    side = picture.square_px
    matrix = cv2.invertAffineTransform(arcface_square(points))
    centre = matrix @ np.array([63.5, 63.5, 1])
    low, high = centre - side * (0.5 + margins[:2]), centre + side * (0.5 + margins[2:])
    return picture.cut(int(low[0]), int(low[1]), int(np.ceil(high[0])), int(np.ceil(high[1])))


def _blurred(rgb: ImageU8, sigma_px: float) -> ImageU8:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def _resampled(rgb: ImageU8, factor: float) -> ImageU8:
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
