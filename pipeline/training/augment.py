"""What training does to pictures at native resolution: degradations for all, softening for reals.

Everything is a function of the picture and a seed, so that a real face and its swap are degraded
alike and the number of loader processes changes nothing.
"""

import os
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from pipeline.params import AugmentParams
from pipeline.preprocess import FloatArray, ImageU8

# albumentations asks its home page for a newer version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

Soften = Callable[[ImageU8, np.random.Generator], ImageU8]

LOCAL_FRAC: Final = 0.4


class Degradations:
    """Camera, edit and codec, in the order in which they happen to a picture in the wild."""

    def __init__(self, params: AugmentParams) -> None:
        self._transform = albumentations.Compose(_steps(params))

    def apply(self, rgb: ImageU8, seed: int) -> ImageU8:
        """(H, W, 3) uint8 -> the same shape; equal seeds do equal things to pictures of a size."""
        self._transform.set_random_seed(seed)
        return np.asarray(self._transform(image=rgb)["image"], np.uint8)


def soften_real(rgb: ImageU8, box_xyxy: FloatArray, rng: np.random.Generator) -> ImageU8:
    """A real picture as a soft lens, a small sensor or a website leaves it: still real.

    rgb: (H, W, 3) uint8. box_xyxy: (4,) the face; some pictures are softened only in an ellipse
    near it, as focus and beauty filters do. Without these, "soft" is learned for "swapped".
    """
    way = SOFTENINGS[int(rng.integers(len(SOFTENINGS)))]
    is_local = rng.random() < LOCAL_FRAC
    soft = way(rgb, rng)
    if not is_local:
        return soft
    inside = _ellipse(rgb.shape[:2], box_xyxy, rng)[..., None]
    mixed = inside * soft.astype(np.float32) + (1 - inside) * rgb.astype(np.float32)
    return np.asarray(mixed + np.float32(0.5), np.uint8)


def _steps(params: AugmentParams) -> list[albumentations.BasicTransform]:
    jpeg = (params.jpeg_min, params.jpeg_max)
    recompress = [
        albumentations.Downscale(
            scale_range=(params.resize_min, 0.95),
            interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_CUBIC},
            p=1,
        ),
        albumentations.ImageCompression(quality_range=jpeg, p=1),
    ]
    return [
        albumentations.GaussianBlur(
            blur_limit=0, sigma_limit=(0.3, 1.6), p=params.gaussian_blur_frac
        ),
        albumentations.MotionBlur(blur_limit=(3, 7), p=params.motion_blur_frac),
        albumentations.GaussNoise(std_range=(0.005, 0.04), p=params.noise_frac),
        albumentations.ColorJitter(
            brightness=(0.8, 1.2),
            contrast=(0.8, 1.2),
            saturation=(0.7, 1.3),
            hue=(-0.02, 0.02),
            p=params.colour_jitter_frac,
        ),
        albumentations.Sharpen(alpha=(0.1, 0.4), lightness=(1.0, 1.0), p=params.sharpen_frac),
        albumentations.Sequential(recompress, p=params.resize_recompress_frac),
        albumentations.ImageCompression(quality_range=jpeg, p=params.jpeg_frac),
    ]


def _blurred(rgb: ImageU8, rng: np.random.Generator) -> ImageU8:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.6, 2.2)), np.uint8)


def _resampled(rgb: ImageU8, rng: np.random.Generator) -> ImageU8:
    height, width = rgb.shape[:2]
    factor = rng.uniform(0.3, 0.8)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    back = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (width, height), interpolation=back), np.uint8)


def _recompressed(rgb: ImageU8, rng: np.random.Generator) -> ImageU8:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 60))]
    _, encoded = cv2.imencode(".jpg", _resampled(rgb, rng), quality)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _smoothed(rgb: ImageU8, rng: np.random.Generator) -> ImageU8:
    """Flat skin with sharp edges, as a beauty filter or strong denoising leaves it."""
    spread = rng.uniform(10, 30)
    return np.asarray(cv2.bilateralFilter(rgb, 5, spread, 3), np.uint8)


SOFTENINGS: Final[tuple[Soften, ...]] = (_blurred, _resampled, _recompressed, _smoothed)


def _ellipse(
    shape_hw: tuple[int, ...], box_xyxy: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """(H, W) float32 in [0, 1]: a soft ellipse of 0.3 to 1.1 of the box, somewhere near it."""
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    side = max(x1 - x0, y1 - y0)
    shift_x, shift_y = rng.normal(0, 0.25, 2) * side
    centre = (round((x0 + x1) / 2 + shift_x), round((y0 + y1) / 2 + shift_y))
    radius_x, radius_y = (max(1, round(side * r / 2)) for r in rng.uniform(0.3, 1.1, 2))
    inside = np.zeros(shape_hw[:2], np.float32)
    cv2.ellipse(inside, centre, (radius_x, radius_y), rng.uniform(0, 180), 0, 360, 1.0, cv2.FILLED)
    softness = max(1.0, side * rng.uniform(0.02, 0.15))
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), softness), np.float32)
