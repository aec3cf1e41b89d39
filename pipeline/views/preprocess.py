"""Preprocessing from an image and a face box to the network's input.

crop_faces, the training dataset and the service all use it, and the exported bundle contains its
parameters.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.sections import PreprocessParams

# ImageNet statistics, with which all available pretrained backbones were trained.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """Square crops around a face box, resized and normalised.

    size_px: side of a crop. scales: crop side over the longer side of the box, ascending.
    aligned: use the view of pipeline.views.aligned too. mean, std: per RGB channel, of values in
    [0, 1].
    """

    size_px: int = 256
    scales: tuple[float, ...] = (1.1, 1.5, 2.0)
    aligned: bool = False
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @classmethod
    def from_params(cls, params: PreprocessParams) -> "Preprocess":
        return cls(size_px=params.size_px, scales=tuple(params.scales))

    def for_views(self, views: Sequence[str]) -> "Preprocess":
        """The preprocessing for a network that scores only these views (see pipeline.views.cut)."""
        scales = tuple(scale for scale in self.scales if f"{scale:g}x" in views)
        return replace(self, scales=scales, aligned="aligned" in views)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def square(box_xyxy: FloatArray, scale: float) -> tuple[int, int, int]:
        """Left, top and side of a crop in whole pixels; it may extend beyond the image."""
        x0, y0, x1, y1 = (float(value) for value in box_xyxy)
        side = max(2, round(scale * max(x1 - x0, y1 - y0)))
        left = round((x0 + x1 - side) / 2)
        top = round((y0 + y1 - side) / 2)
        return left, top, side

    def crop(self, rgb: ImageU8, box_xyxy: FloatArray, scale: float) -> ImageU8:
        """Crop the square of `scale` around the box: (H, W[, 3]) uint8 -> (size, size[, 3]).

        Pixels outside the image are mirrored, because a black border would look like a seam. With
        whole-pixel squares, a crop of a context crop equals the crop of the whole image.
        """
        left, top, side = self.square(box_xyxy, scale)
        patch = cut_reflected(rgb, left, top, side)
        shrinks = side > self.size_px
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        size = (self.size_px, self.size_px)
        return np.asarray(cv2.resize(patch, size, interpolation=interpolation), np.uint8)

    def to_input(self, crop: ImageU8) -> FloatArray:
        """(..., H, W, 3) uint8 -> (..., 3, H, W) float32, normalised."""
        *batch, height, width, channels = crop.shape
        planes = np.empty((*batch, channels, height, width), np.float32)
        for channel, levels in enumerate(self._levels):
            # Every mode except "raise" writes to `out` without a copy; no uint8 is out of range.
            np.take(levels, crop[..., channel], out=planes[..., channel, :, :], mode="clip")
        return planes

    @cached_property
    def _levels(self) -> FloatArray:
        """(3, 256) float32 lookup table: normalised value of each pixel value per channel."""
        scaled = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
        normalised = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.T)


def cut_reflected(rgb: ImageU8, left: int, top: int, side: int) -> ImageU8:
    """The square at (left, top) of `side` pixels, mirrored outside the image."""
    height, width = rgb.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return rgb[top : top + side, left : left + side]
    rows = _mirrored(np.arange(top, top + side), height)
    columns = _mirrored(np.arange(left, left + side), width)
    return rgb[np.ix_(rows, columns)]


def _mirrored(indices: NDArray[np.int_], length: int) -> NDArray[np.int_]:
    """Fold indices into [0, length) as OpenCV's BORDER_REFLECT_101 does."""
    if length == 1:
        return np.zeros_like(indices)
    period = 2 * (length - 1)
    folded = np.abs(indices) % period
    return np.where(folded >= length, period - folded, folded)
