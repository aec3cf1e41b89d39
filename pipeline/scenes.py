"""Scene cuts by HSV-histogram distance, and which frames of a scene to take."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode, SceneDetector, SceneManager, VideoStream

from pipeline.errors import DecodeError
from pipeline.video import probe, read_frames

ImageU8 = NDArray[np.uint8]
Histogram = NDArray[np.float32]

SCAN_SIDE_PX = 160
TILES = 2
BINS = (8, 4, 4)
# Hue and saturation of dark pixels, and the hue of pale ones, are noise.
DARK_VALUE = 48
PALE_SATURATION = 32
FALLBACK_FPS = 25.0
# The share of the threshold that makes a cut where nothing moves, and how many times the largest
# change between neighbours it must be where something does.
CALM_SHARE = 1 / 3
MOTION_FACTOR = 3.0


@dataclass(frozen=True)
class Scene:
    """Frames start to stop - 1 of a video."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def detect_scenes(
    path: Path, threshold: float, min_scene_s: float, *, threads: int = 1
) -> list[Scene]:
    """Shots of a video in order, each of min_scene_s or more; what lies between hard cuts.

    threshold: histogram distance in (0, 1) that makes a cut in any case. min_scene_s: shorter
    pieces (flashes, blended frames between two shots) belong to no scene, so a video that is
    shorter gives none. threads: of the decoder. Raises DecodeError, naming the file.
    """
    fps = probe(path).fps or FALLBACK_FPS
    window = max(1, round(min_scene_s * fps))
    stream = _SmallFrames(path, threads)
    manager = SceneManager()
    manager.auto_downscale = False
    manager.add_detector(HistogramCutDetector(threshold, window))
    manager.detect_scenes(stream)
    if stream.failure is not None:
        raise stream.failure
    pieces = manager.get_scene_list(start_in_scene=True)
    scenes = [Scene(start.frame_num, stop.frame_num) for start, stop in pieces]
    return [scene for scene in scenes if scene.length >= window]


def sample_indices(scene: Scene, frames_per_scene: int) -> list[int]:
    """Evenly spaced distinct frames inside a scene; fewer when it is shorter than asked for.

    The first and last frame are left out where others remain: encoders blend and smear at a cut.
    """
    start, length = scene.start, scene.length
    if length > 2:
        start, length = start + 1, length - 2
    count = min(frames_per_scene, length)
    return [start + (2 * k + 1) * length // (2 * count) for k in range(count)]


def hsv_histogram(bgr: ImageU8) -> Histogram:
    """(H, W, 3) uint8 -> (n,) float32, sum 1: joint hue, saturation, value counts of 2 x 2 tiles.

    Tiles, because two shots of one set share their colours but not where these are.
    """
    hsv = cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)
    hsv[hsv[..., 2] < DARK_VALUE, :2] = 0
    hsv[hsv[..., 1] < PALE_SATURATION, 0] = 0
    counts = [
        cv2.calcHist([np.ascontiguousarray(tile)], [0, 1, 2], None, BINS, [0, 180, 0, 256, 0, 256])
        for half in np.array_split(hsv, TILES, axis=0)
        for tile in np.array_split(half, TILES, axis=1)
    ]
    joined = np.concatenate([tile_counts.ravel() for tile_counts in counts])
    return np.asarray(joined / joined.sum(), dtype=np.float32)


@dataclass(frozen=True)
class _Seen:
    """A frame that was looked at. step: distance to the frame before it, 0 for the first."""

    timecode: FrameTimecode
    histogram: Histogram
    step: float


class HistogramCutDetector(SceneDetector):  # type: ignore[misc]  # no type hints in scenedetect
    """A cut stands where no frame of the window before it resembles any frame of the window after.

    The distance is half the sum of absolute histogram differences, in [0, 1]. Asking this of whole
    windows, not of two neighbours, keeps flash lights from being cuts: in a film scene with three
    cuts under flash light, 67 neighbouring pairs differ by more than 0.35; only those cuts pass.
    Where the windows are calm, a cut needs only CALM_SHARE of the threshold, because two framings
    of one set are that close (0.13 and more, while shots without a cut stayed below 0.06).
    """

    def __init__(self, threshold: float, window: int) -> None:
        """threshold: distance that always makes a cut. window: frames on either side, >= 1."""
        super().__init__()
        self._threshold = threshold
        self._window = window
        self._recent: deque[_Seen] = deque(maxlen=2 * window)

    @property
    def event_buffer_length(self) -> int:
        return self._window

    def process_frame(self, timecode: FrameTimecode, frame_img: ImageU8) -> list[FrameTimecode]:
        histogram = hsv_histogram(frame_img)
        step = _distance([self._recent[-1].histogram], [histogram]) if self._recent else 0.0
        self._recent.append(_Seen(timecode, histogram, step))
        return self._cuts_at(len(self._recent) - self._window)

    def post_process(self, timecode: FrameTimecode) -> list[FrameTimecode]:  # noqa: ARG002
        """Judge the last frames, which have less than a window after them."""
        last = len(self._recent)
        return [
            cut
            for position in range(max(1, last - self._window + 1), last)
            for cut in self._cuts_at(position)
        ]

    def _cuts_at(self, position: int) -> list[FrameTimecode]:
        """The timecode at this position of the recent frames, if a cut stands before it."""
        if position < 1:
            return []
        seen = list(self._recent)
        before, after = seen[max(0, position - self._window) : position], seen[position:]
        motion = max([frame.step for frame in (*before[1:], *after[1:])], default=0.0)
        calm = max(CALM_SHARE * self._threshold, MOTION_FACTOR * motion)
        required = min(self._threshold, calm)
        # The neighbours first: they settle nearly every frame.
        if after[0].step <= required:
            return []
        if _distance([f.histogram for f in before], [f.histogram for f in after]) <= required:
            return []
        return [after[0].timecode]


def _distance(before: list[Histogram], after: list[Histogram]) -> float:
    """The smallest distance of any frame of the first list to any of the second."""
    difference = np.abs(np.stack(before)[:, None] - np.stack(after)[None])  # (B, A, n)
    return float(difference.sum(axis=-1).min()) / 2


class _SmallFrames(VideoStream):  # type: ignore[misc]
    """Our decoder behind PySceneDetect's interface: small BGR frames, counted from 0.

    A decoding error ends the stream and is kept in `failure`: PySceneDetect reads in a thread.
    """

    BACKEND_NAME = "pipeline.video"

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = threads
        self.failure: DecodeError | None = None
        self.reset()

    def reset(self) -> None:
        self._frames: Iterator[tuple[int, float, ImageU8]] = read_frames(
            self._path, pixel_format="bgr24", max_side_px=SCAN_SIDE_PX, threads=self._threads
        )
        self._count = 0
        self._size: tuple[int, int] | None = None

    def read(self, decode: bool = True) -> ImageU8 | bool:
        try:
            _, _, bgr = next(self._frames)
        except StopIteration:
            return False
        except DecodeError as error:
            self.failure = error
            return False
        self._count += 1
        height, width = bgr.shape[:2]
        self._size = self._size or (width, height)
        if (width, height) != self._size:
            bgr = np.asarray(cv2.resize(bgr, self._size), dtype=np.uint8)
        return bgr if decode else True

    def seek(self, target: FrameTimecode | float | int) -> None:
        raise NotImplementedError(f"frames are read in order; cannot seek to {target}")

    @property
    def path(self) -> str:
        return str(self._path)

    @property
    def name(self) -> str:
        return self._path.stem

    @property
    def is_seekable(self) -> bool:
        return False

    @property
    def frame_rate(self) -> Fraction:
        """Of no consequence: frames are addressed by number alone."""
        return Fraction(25)

    @property
    def duration(self) -> None:
        return None

    @property
    def frame_size(self) -> tuple[int, int]:
        return self._size or (SCAN_SIDE_PX, SCAN_SIDE_PX)

    @property
    def aspect_ratio(self) -> float:
        return 1.0

    @property
    def position(self) -> FrameTimecode:
        return FrameTimecode(max(0, self._count - 1), fps=self.frame_rate)

    @property
    def position_ms(self) -> float:
        return 1000.0 * max(0, self._count - 1) / float(self.frame_rate)

    @property
    def frame_number(self) -> int:
        return self._count
