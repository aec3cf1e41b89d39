"""Scenes from still images or footage, with a camera that pans and zooms, grading and grain.

The same similarity transforms the pixels and the five keypoints, which are thus known in every
frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.views.paste import Matrix

# Margin of the stage around the frame on each side, as a fraction of the frame, for camera motion.
_MARGIN: Final = 0.12
_GRAIN_TILE_PX: Final = 64


@dataclass(frozen=True, eq=False)
class Subject:
    """An image (H, W, 3) uint8 and its keypoints (5, 2), None without a face."""

    rgb: ImageU8
    keypoints: FloatArray | None = None


@dataclass(frozen=True)
class Camera:
    """Random choices of one scene.

    centre: position of the subject in the frame, as fractions of width and height. pan_px, zoom,
    degrees, light: at the first and the last frame; light scales the brightness. gain, gamma: the
    grading. grain: standard deviation of
    the sensor noise in grey levels. grain_seed: seed of the noise tile.
    """

    centre: tuple[float, float]
    pan_px: tuple[tuple[float, float], tuple[float, float]]
    zoom: tuple[float, float]
    degrees: tuple[float, float]
    light: tuple[float, float]
    gain: tuple[float, float, float]
    gamma: float
    grain: float
    grain_seed: int


def draw_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """Draw a camera whose motion stays within the stage's margin. width, height: of the frame."""
    reach_x, reach_y = 0.5 * _MARGIN * width, 0.5 * _MARGIN * height
    pans = rng.uniform(-1, 1, (2, 2)) * (reach_x, reach_y)
    zooms = rng.uniform(1.0, 1.2, 2)
    turns = rng.uniform(-4, 4, 2)
    lights = rng.uniform(0.85, 1.15, 2)
    brightness = rng.uniform(0.82, 1.12)
    tint = rng.uniform(0.93, 1.07, 3)
    return Camera(
        centre=(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.44, 0.54))),
        pan_px=((float(pans[0, 0]), float(pans[0, 1])), (float(pans[1, 0]), float(pans[1, 1]))),
        zoom=(float(zooms[0]), float(zooms[1])),
        degrees=(float(turns[0]), float(turns[1])),
        light=(float(lights[0]), float(lights[1])),
        gain=(
            float(brightness * tint[0]),
            float(brightness * tint[1]),
            float(brightness * tint[2]),
        ),
        gamma=float(rng.uniform(0.85, 1.2)),
        grain=float(rng.uniform(0.6, 2.2)),
        grain_seed=int(rng.integers(2**32)),
    )


def film(
    subjects: Sequence[Subject], camera: Camera, frames: int, width: int, height: int
) -> list[Subject]:
    """Film a scene: `frames` images (height, width, 3) with their keypoints.

    subjects: one still, or one image per frame, at the scale in which they appear. The part of the
    frame that the image does not cover is filled with a coarse blur of it.
    """
    stages = [_stage(subject, camera, width, height) for subject in subjects]
    grain = _grain_tile(camera, width, height)
    filmed = []
    for index in range(frames):
        stage = stages[min(index, len(stages) - 1)]
        progress = index / max(1, frames - 1)
        eased = progress * progress * (3 - 2 * progress)
        matrix = _camera_matrix(camera, eased, stage.rgb.shape[:2], (height, width))
        seen = cv2.warpAffine(
            stage.rgb, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        keypoints = None if stage.keypoints is None else transform(stage.keypoints, matrix)
        graded = cv2.LUT(seen, _grade_table(camera, eased))
        filmed.append(Subject(_add_grain(graded, grain, index), keypoints))
    return filmed


def scaled(subject: Subject, scale: float) -> Subject:
    """Resize image and keypoints, by area averaging to shrink and bicubically to enlarge."""
    height, width = subject.rgb.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    rgb = np.asarray(cv2.resize(subject.rgb, size, interpolation=interpolation), np.uint8)
    if subject.keypoints is None:
        return Subject(rgb)
    factor = np.array([size[0] / width, size[1] / height])
    # Coordinates are those of pixel centres: x' + 0.5 = factor * (x + 0.5).
    return Subject(rgb, (((subject.keypoints + 0.5) * factor) - 0.5).astype(np.float32))


def mirrored(subject: Subject) -> Subject:
    """Mirror left and right; the keypoints keep their order as seen in the image."""
    rgb = np.ascontiguousarray(subject.rgb[:, ::-1])
    if subject.keypoints is None:
        return Subject(rgb)
    keypoints = subject.keypoints[[1, 0, 2, 4, 3]]
    keypoints[:, 0] = rgb.shape[1] - 1 - keypoints[:, 0]
    return Subject(rgb, keypoints)


def transform(points: FloatArray, matrix: Matrix) -> FloatArray:
    """Transform points (n, 2) by a matrix (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def _stage(subject: Subject, camera: Camera, width: int, height: int) -> Subject:
    """Place the subject on a stage that is larger than the frame by _MARGIN on each side."""
    stage_h, stage_w = round(height * (1 + 2 * _MARGIN)), round(width * (1 + 2 * _MARGIN))
    image_h, image_w = subject.rgb.shape[:2]
    if subject.keypoints is None:
        focus = np.array([image_w / 2, image_h / 2])
    else:
        focus = subject.keypoints.mean(axis=0)
    left = _offset(camera.centre[0] * stage_w - focus[0], image_w, stage_w)
    top = _offset(camera.centre[1] * stage_h - focus[1], image_h, stage_h)
    stage = _backdrop(subject.rgb, stage_w, stage_h)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(stage_w, left + image_w), min(stage_h, top + image_h)
    stage[y0:y1, x0:x1] = subject.rgb[y0 - top : y1 - top, x0 - left : x1 - left]
    if subject.keypoints is None:
        return Subject(stage)
    return Subject(stage, subject.keypoints + np.array([left, top], np.float32))


def _offset(wanted: float, image: int, stage: int) -> int:
    """Start of the image on the stage: it covers the stage if large enough, else stays inside."""
    low, high = sorted((0, stage - image))
    return int(np.clip(round(wanted), low, high))


def _backdrop(rgb: ImageU8, width: int, height: int) -> ImageU8:
    """Blur of the image's colours (height, width, 3) in which no face is recognisable."""
    coarse = cv2.resize(rgb, (8, 6), interpolation=cv2.INTER_AREA)
    wide = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.convertScaleAbs(wide, alpha=0.8), np.uint8)


def _camera_matrix(
    camera: Camera, eased: float, stage_hw: tuple[int, ...], frame_hw: tuple[int, int]
) -> Matrix:
    """Matrix (2, 3) stage -> frame after the part `eased`, 0 to 1, of the camera's motion."""
    pan_x, pan_y = (_between(ends, eased) for ends in zip(*camera.pan_px, strict=True))
    centre = ((stage_hw[1] - 1) / 2, (stage_hw[0] - 1) / 2)
    degrees, zoom = _between(camera.degrees, eased), _between(camera.zoom, eased)
    turn = cv2.getRotationMatrix2D(centre, degrees, zoom)
    matrix = np.asarray(turn, np.float64)
    matrix[0, 2] += (frame_hw[1] - 1) / 2 - centre[0] + pan_x
    matrix[1, 2] += (frame_hw[0] - 1) / 2 - centre[1] + pan_y
    return matrix


def _between(ends: tuple[float, float], eased: float) -> float:
    return ends[0] + eased * (ends[1] - ends[0])


def _grade_table(camera: Camera, eased: float) -> ImageU8:
    """Look-up table (1, 256, 3) of light, gain and gamma."""
    levels = (np.arange(256, dtype=np.float64) / 255) ** camera.gamma
    graded = 255 * _between(camera.light, eased) * levels[:, None] * np.array(camera.gain)
    table: ImageU8 = np.clip(np.rint(graded), 0, 255).astype(np.uint8)[None]
    return table


def _grain_tile(camera: Camera, width: int, height: int) -> FloatArray:
    rng = np.random.default_rng(camera.grain_seed)
    shape = (height + _GRAIN_TILE_PX, width + _GRAIN_TILE_PX, 1)
    return (camera.grain * rng.standard_normal(shape)).astype(np.float32)


def _add_grain(rgb: NDArray[np.generic], tile: FloatArray, index: int) -> ImageU8:
    """Add luminance noise, from a different part of the tile in every frame."""
    x, y = (23 * index) % _GRAIN_TILE_PX, (37 * index) % _GRAIN_TILE_PX
    height, width = rgb.shape[:2]
    noisy = rgb.astype(np.float32) + tile[y : y + height, x : x + width]
    grainy: ImageU8 = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return grainy
