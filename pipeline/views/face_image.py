"""An image with the geometry of one face, which stays consistent under resizing and cropping."""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.views.paste import arcface_square, square_px


@dataclass(frozen=True, eq=False)
class FaceImage:
    """An image and its face.

    rgb: (H, W, 3) uint8. box_xyxy: (4,), keypoints: (5, 2) or None, in pixels of rgb. alpha: (H, W)
    float32 opacity of a paste, None if unknown.
    """

    rgb: ImageU8
    box_xyxy: FloatArray
    keypoints: FloatArray | None
    alpha: FloatArray | None = None

    @cached_property
    def square_px(self) -> float:
        """Side of the paste square in pixels; without keypoints, a typical one for the box."""
        if self.keypoints is not None:
            return square_px(arcface_square(self.keypoints))
        return 1.42 * self.face_px

    @property
    def face_px(self) -> float:
        """Longer side of the box."""
        x0, y0, x1, y1 = (float(value) for value in self.box_xyxy)
        return max(x1 - x0, y1 - y0)

    def with_rgb(self, rgb: ImageU8) -> "FaceImage":
        """The same face with other pixels at the same positions."""
        return replace(self, rgb=rgb)

    def resized(self, factor: float, interpolation: int = cv2.INTER_AREA) -> "FaceImage":
        """The image with both sides multiplied by `factor` and rounded to pixels, at least 8."""
        height, width = self.rgb.shape[:2]
        size = (max(8, round(width * factor)), max(8, round(height * factor)))
        ratio = np.array([size[0] / width, size[1] / height], np.float32)
        points = self.keypoints
        alpha = self.alpha
        return FaceImage(
            rgb=np.asarray(cv2.resize(self.rgb, size, interpolation=interpolation), np.uint8),
            box_xyxy=np.asarray(self.box_xyxy * np.tile(ratio, 2), np.float32),
            # Keypoints refer to pixel centres, which are half a pixel from the edges of a box.
            keypoints=None if points is None else np.asarray((points + 0.5) * ratio - 0.5),
            alpha=None if alpha is None else np.asarray(cv2.resize(alpha, size), np.float32),
        )

    def cut(self, left: int, top: int, right: int, bottom: int) -> "FaceImage":
        """Crop a rectangle of whole pixels, clipped to the image but at least 8 x 8."""
        height, width = self.rgb.shape[:2]
        x0, y0 = min(max(0, left), width - 8), min(max(0, top), height - 8)
        region = np.s_[y0 : max(y0 + 8, bottom), x0 : max(x0 + 8, right)]
        shift = np.array([x0, y0], np.float32)
        return FaceImage(
            rgb=np.ascontiguousarray(self.rgb[region]),
            box_xyxy=self.box_xyxy - np.tile(shift, 2),
            keypoints=None if self.keypoints is None else self.keypoints - shift,
            alpha=None if self.alpha is None else np.ascontiguousarray(self.alpha[region]),
        )
