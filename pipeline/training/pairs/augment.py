"""Random degradations of training images at native resolution, and softening of real images.

Every result depends only on the image and a seed. A real face and its swap therefore get the same
degradation, and the number of loader processes changes nothing.
"""

import os
from typing import Final

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.sections import AugmentParams
from pipeline.training.pairs.degradations import TYPICAL_SQUARE_PX, jpeg, x264
from pipeline.views.face_image import FaceImage

# albumentations checks its home page for a newer version on import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

# The paste square is not shrunk below this side, where its traces are no longer visible.
MIN_SQUARE_PX: Final = 100.0
FILTERS: Final = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
CLEAN_JPEG: Final = (88, 98)
CLEAN_JPEG_FRAC: Final = 0.8
SECOND_JPEG: Final = (75, 96)
INSWAPPER_PX: Final = 128.0
# Probability of each kind of softening; they sum to 1.
SOFTENING_FRACS: Final = {
    "resampled": 0.33,
    "blurred": 0.2,
    "recompressed": 0.1,
    "denoised": 0.1,
    "moved": 0.05,
    "focused": 0.12,
    "retouched": 0.1,
}


class Degradations:
    """Random edits, shrinking, noise and compression, in the order in which images get them."""

    def __init__(self, params: AugmentParams) -> None:
        self._params = params
        self._edits = albumentations.Compose(_edits(params))
        self._noise = albumentations.Compose(
            [albumentations.GaussNoise(std_range=(0.004, 0.025), p=params.noise_frac)]
        )

    def apply(self, image: FaceImage, seed: int) -> FaceImage:
        """Degrade an image, which may become smaller; equal seeds apply equal changes.

        With probability `clean_frac` it is only encoded at high quality or not at all, as most
        photographs are.
        """
        rng = np.random.default_rng(seed)
        if rng.random() < self._params.clean_frac:
            quality = int(rng.integers(*CLEAN_JPEG, endpoint=True))
            return jpeg(quality)(image) if rng.random() < CLEAN_JPEG_FRAC else image
        edits_seed, noise_seed = (int(value) for value in rng.integers(2**31, size=2))
        image = image.with_rgb(_transformed(self._edits, image.rgb, edits_seed))
        image = self._shrunk(image, rng)
        image = image.with_rgb(_transformed(self._noise, image.rgb, noise_seed))
        return self._compressed(image, rng)

    def _shrunk(self, image: FaceImage, rng: np.random.Generator) -> FaceImage:
        draw, size_draw, index = rng.random(), rng.random(), int(rng.integers(len(FILTERS)))
        lowest = max(self._params.resize_min, MIN_SQUARE_PX / image.square_px)
        if draw >= self._params.resize_frac or lowest >= 1:
            return image
        return image.resized(lowest + size_draw * (1 - lowest), FILTERS[index])

    def _compressed(self, image: FaceImage, rng: np.random.Generator) -> FaceImage:
        params = self._params
        draw, second_draw = rng.random(2)
        quality = int(rng.integers(params.jpeg_min, params.jpeg_max, endpoint=True))
        second_quality = int(rng.integers(*SECOND_JPEG, endpoint=True))
        crf = int(rng.integers(params.x264_crf_min, params.x264_crf_max, endpoint=True))
        if draw < params.x264_frac:
            # One key frame; odd sides lose a pixel.
            return x264(crf)(image)
        if draw >= params.x264_frac + params.jpeg_frac:
            return image
        once = jpeg(quality)(image)
        return jpeg(second_quality)(once) if second_draw < params.second_jpeg_frac else once


def soften_real(image: FaceImage, rng: np.random.Generator) -> FaceImage:
    """Soften a real face as a lens, a website, a retoucher or the focus would; it stays real.

    Without softened reals, the network learns "soft" instead of "swapped".
    """
    kind = str(rng.choice(list(SOFTENING_FRACS), p=list(SOFTENING_FRACS.values())))
    return image.with_rgb(_softened(image, kind, rng))


def _edits(params: AugmentParams) -> list[albumentations.BasicTransform]:
    return [
        albumentations.ColorJitter(
            brightness=(0.8, 1.2),
            contrast=(0.8, 1.2),
            saturation=(0.7, 1.3),
            hue=(-0.02, 0.02),
            p=params.colour_jitter_frac,
        ),
        albumentations.UnsharpMask(
            blur_limit=(7, 7),
            sigma_limit=(0.6, 1.6),
            alpha=(0.3, 1.0),
            threshold=0,
            p=params.sharpen_frac,
        ),
        albumentations.GaussianBlur(
            blur_limit=0, sigma_limit=(0.4, 1.4), p=params.gaussian_blur_frac
        ),
        albumentations.MotionBlur(blur_limit=(3, 5), p=params.motion_blur_frac),
    ]


def _transformed(transform: albumentations.Compose, rgb: ImageU8, seed: int) -> ImageU8:
    transform.set_random_seed(seed)
    return np.asarray(transform(image=rgb)["image"], np.uint8)


def _softened(image: FaceImage, kind: str, rng: np.random.Generator) -> ImageU8:
    rgb, side = image.rgb, image.square_px
    times = max(1.0, side / TYPICAL_SQUARE_PX)
    if kind == "resampled":
        # To at least 0.3 of the side, or to exactly the resolution of INSwapper's square.
        drawn, to_inswapper = rng.uniform(0.3, 0.85), min(0.9, INSWAPPER_PX / side)
        return _resampled(rgb, float(drawn if rng.random() < 0.7 else to_inswapper), rng)
    if kind == "blurred":
        return _blurred(rgb, float(rng.uniform(0.5, 2.0)) * times)
    if kind == "recompressed":
        return jpeg(int(rng.integers(18, 50)))(image).rgb
    if kind == "denoised":
        return np.asarray(cv2.bilateralFilter(rgb, 7, rng.uniform(10, 45), 3.0), np.uint8)
    if kind == "moved":
        length = 3 + 2 * int(rng.integers(3))
        blur = albumentations.MotionBlur(blur_limit=(length, length), p=1.0)
        return _transformed(albumentations.Compose([blur]), rgb, int(rng.integers(2**31)))
    if kind == "focused":
        soft = _blurred(rgb, float(rng.uniform(0.6, 2.2)) * times)
        inside = _ellipse(image, rng)[..., None]
        weight = inside if rng.random() < 0.5 else 1 - inside  # (H, W, 1)
        mixed = weight * soft.astype(np.float32) + (1 - weight) * rgb.astype(np.float32)
        return np.asarray(mixed + np.float32(0.5), np.uint8)
    small = _resampled(rgb, float(rng.uniform(0.4, 0.9)), rng)
    amount = float(rng.uniform(0, 1.2))
    sharp = cv2.addWeighted(small, 1 + amount, _blurred(small, 1.0), -amount, 0)
    return jpeg(int(rng.integers(40, 90)))(image.with_rgb(np.asarray(sharp, np.uint8))).rgb


def _resampled(rgb: ImageU8, factor: float, rng: np.random.Generator) -> ImageU8:
    height, width = rgb.shape[:2]
    down, up = FILTERS[int(rng.integers(4))], FILTERS[1 + int(rng.integers(3))]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(rgb, size, interpolation=down)
    return np.asarray(cv2.resize(small, (width, height), interpolation=up), np.uint8)


def _blurred(rgb: ImageU8, sigma_px: float) -> ImageU8:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def _ellipse(image: FaceImage, rng: np.random.Generator) -> FloatArray:
    """Mask (H, W) float32 in [0, 1] of a face-sized ellipse with a wide soft edge."""
    side, (x0, y0, x1, y1) = image.square_px, image.box_xyxy
    shift_x, shift_y = rng.normal(0, 0.05, 2) * side
    centre = (round(float(x0 + x1) / 2 + shift_x), round(float(y0 + y1) / 2 + shift_y))
    radius_x, radius_y = (max(1, round(side * r)) for r in rng.uniform(0.3, 0.55, 2))
    inside = np.zeros(image.rgb.shape[:2], np.float32)
    degrees = rng.uniform(-20, 20)
    cv2.ellipse(inside, centre, (radius_x, radius_y), degrees, 0, 360, 1.0, cv2.FILLED)
    softness = max(1.0, side * rng.uniform(0.03, 0.15))
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), softness), np.float32)
