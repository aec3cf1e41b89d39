"""Scene cuts by HSV-histogram distance, and which frames of a scene to take."""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise, starmap
from pathlib import Path

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from scenedetect import FrameTimecode, SceneDetector

from pipeline.core.arrays import ImageU8
from pipeline.media.video import DecodedFrame, VideoInfo, decode_frames, probe

Histogram = NDArray[np.float32]

SCAN_SIDE_PX = 160
TILES = 2
BINS = (8, 4, 4)
# Hue and saturation of dark pixels, and the hue of pale ones, are noise.
DARK_VALUE = 48
PALE_SATURATION = 32
FALLBACK_FPS = 25.0
# So many frames of a scene, a sample, are chosen from.
CHOICE = 8
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
    shorter gives none. threads: cores for the decoder. Raises DecodeError, naming the file.
    """
    finder = CutFinder(threshold, window_of(probe(path), min_scene_s))
    cuts = [0]
    for frame in decode_frames(path, threads):
        cuts += finder.add(frame)
    cuts += finder.finish()
    pieces = starmap(Scene, pairwise([*cuts, finder.count]))
    return [scene for scene in pieces if scene.length >= finder.window]


def window_of(video: VideoInfo, min_scene_s: float) -> int:
    """The length in frames, >= 1, of the shortest scene that counts."""
    return max(1, round(min_scene_s * (video.fps or FALLBACK_FPS)))


def sample_indices(scene: Scene, frames_per_scene: int) -> list[int]:
    """Evenly spaced distinct frames inside a scene; fewer when it is shorter than asked for.

    The first and last frame are left out where others remain: encoders blend and smear at a cut.
    Only every `sample_stride`-th frame of the scene is chosen from.
    """
    stride = sample_stride(scene.length, frames_per_scene)
    first, length = (1, scene.length - 2) if scene.length > 2 else (0, scene.length)
    count = min(frames_per_scene, length)
    even = [first + (2 * k + 1) * length // (2 * count) for k in range(count)]
    return [scene.start + (offset + stride // 2) // stride * stride for offset in even]


def sample_stride(length: int, frames_per_scene: int) -> int:
    """The least power of two that leaves CHOICE frames a sample; it grows with the scene.

    So a reader that does not know yet how long a scene will be may forget the frames between.
    """
    stride = 1
    while length > CHOICE * frames_per_scene * stride:
        stride *= 2
    return stride


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


class CutFinder:
    """The cuts of a video whose frames come one after the other.

    window: frames of the shortest scene. count: frames that came. settled: before this frame, all
    cuts are known.
    """

    def __init__(self, threshold: float, window: int) -> None:
        """threshold, window: as HistogramCutDetector takes them."""
        self._detector = HistogramCutDetector(threshold, window)
        self._converter = VideoReformatter()
        self._size = (0, 0)
        self.window = window
        self.count = 0

    @property
    def settled(self) -> int:
        return max(0, self.count - self.window + 1)

    def add(self, frame: DecodedFrame) -> list[int]:
        """First frames of the scenes that are certain since this frame."""
        bgr = frame.pixels(self._converter, "bgr24", SCAN_SIDE_PX)
        if self.count == 0:
            self._size = bgr.shape[1], bgr.shape[0]
        elif (bgr.shape[1], bgr.shape[0]) != self._size:
            bgr = np.asarray(cv2.resize(bgr, self._size), np.uint8)
        cuts = self._detector.process_frame(_timecode(self.count), bgr)
        self.count += 1
        return [cut.frame_num for cut in cuts]

    def finish(self) -> list[int]:
        """The cuts among the last frames."""
        cuts = self._detector.post_process(_timecode(max(0, self.count - 1)))
        return [cut.frame_num for cut in cuts]


def _timecode(index: int) -> FrameTimecode:
    """PySceneDetect's name of a frame; its rate is of no consequence."""
    return FrameTimecode(index, fps=FALLBACK_FPS)
