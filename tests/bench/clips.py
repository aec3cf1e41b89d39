"""Clips for the benchmark: a moving camera over photographs, with grain and hard cuts."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.core.arrays import ImageU8
from pipeline.training.sample.cast import ASTRONAUT, HOPPER, TABLE
from pipeline.training.sample.sources import read_image

FPS = 25
SCENE_S = 4
# Minimum size of the photograph relative to the frame, which leaves room for the camera to move.
MIN_ZOOM = 1.25
GRAIN_SIGMA = 3.0
# A key frame every two seconds, as phones and platforms encode.
X264 = {"preset": "veryfast", "crf": "20", "g": str(2 * FPS)}
PHOTOS = (ASTRONAUT, HOPPER, TABLE)


def write_clip(path: Path, width: int, height: int, length_s: int) -> Path:
    """Write H.264 at 25 frames per second with a cut every four seconds. Raises PackageError."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(FPS), options=X264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for rgb in frames(width, height, length_s * FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def frames(width: int, height: int, count: int) -> Iterator[ImageU8]:
    """Yield `count` frames, (height, width, 3) uint8."""
    noise = np.random.default_rng(5).normal(0, GRAIN_SIGMA, (height + 64, width + 64, 3))
    grain = noise.round().astype(np.int8)
    photos = [_covering(read_image(origin), width, height) for origin in PHOTOS]
    for index in range(count):
        scene, moment = divmod(index, SCENE_S * FPS)
        photo = photos[scene % len(photos)][:, :: 1 if scene // len(photos) % 2 == 0 else -1]
        view = _moved(photo, width, height, moment)
        y, x = index * 37 % 64, index * 23 % 64
        yield cv2.add(view, grain[y : y + height, x : x + width], dtype=cv2.CV_8U)


def _covering(rgb: ImageU8, width: int, height: int) -> ImageU8:
    """The photograph, scaled to cover the camera's path."""
    factor = MIN_ZOOM * max(width / rgb.shape[1], height / rgb.shape[0])
    return np.asarray(cv2.resize(rgb, None, fx=factor, fy=factor), np.uint8)


def _moved(photo: ImageU8, width: int, height: int, moment: int) -> ImageU8:
    """The camera's view at a frame of its scene, on a slow curve around the upper centre."""
    room_x, room_y = photo.shape[1] - width, min(photo.shape[0] - height, round(0.5 * height))
    x = round(room_x / 2 * (1 + np.sin(moment / 40)))
    y = round(room_y / 2 * (1 - np.cos(moment / 55)))
    return photo[y : y + height, x : x + width]
