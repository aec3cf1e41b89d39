"""Scenes between cuts and dissolves, and the frames to sample from a scene.

Cuts are found by HSV-histogram distance, dissolves by pipeline.frames.dissolves.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from scenedetect import FrameTimecode, SceneDetector

from pipeline.core.arrays import ImageU8
from pipeline.frames.dissolves import STEADY, Cut, DissolveFinder, Histogram
from pipeline.media.video import DecodedFrame, VideoInfo, decode_frames, probe

SCAN_SIDE_PX = 160
TILES = 2
BINS = (8, 4, 4)
# Hue and saturation of dark pixels and hue of pale pixels are noise.
DARK_VALUE = 48
PALE_SATURATION = 32
FALLBACK_FPS = 25.0
# Candidate frames per sampled frame of a scene.
CHOICE = 8
# Where nothing moves, and for the ends of a dissolve, this fraction of the threshold is enough.
# Where something moves, the distance must also be this many times the largest change between
# neighbours.
CALM_FRAC = 1 / 3
MOTION_FACTOR = 3.0


@dataclass(frozen=True)
class Scene:
    """Frames start to stop - 1 of a video. gap: number of frames of the dissolve that follows."""

    start: int
    stop: int
    gap: int = 0

    @property
    def length(self) -> int:
        return self.stop - self.start


def detect_scenes(
    path: Path, threshold: float, min_scene_s: float, *, threads: int = 1
) -> list[Scene]:
    """Shots between the cuts and dissolves of a video, in order, each at least min_scene_s long.

    The frames of a dissolve belong to no scene, because they are blends of two.
    threshold: histogram distance in (0, 1) that is always a cut. min_scene_s: shorter pieces
    (flashes) belong to no scene, so a shorter video has none. threads: number of cores for the
    decoder. Raises DecodeError, naming the file.
    """
    finder = CutFinder(threshold, window_of(probe(path), min_scene_s))
    cuts: list[Cut] = []
    for frame in decode_frames(path, threads):
        cuts += finder.add(frame)
    cuts += finder.finish()
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(Scene(start, cut.stop, cut.start - cut.stop))
        start = cut.start
    return [scene for scene in pieces if scene.length >= finder.window]


def window_of(video: VideoInfo, min_scene_s: float) -> int:
    """Minimum length of a scene in frames, >= 1."""
    return max(1, round(min_scene_s * (video.fps or FALLBACK_FPS)))


def sample_indices(scene: Scene, frames_per_scene: int) -> list[int]:
    """Evenly spaced distinct frames of a scene; fewer if the scene has fewer frames.

    The first and last frame are left out if others remain, because encoders blend and smear frames
    at a cut. Only every `sample_stride`-th frame of the scene is a candidate; the dissolve counts
    for the stride, because a reader finds it only when it is over.
    """
    stride = sample_stride(scene.length + scene.gap, frames_per_scene)
    first, length = (1, scene.length - 2) if scene.length > 2 else (0, scene.length)
    count = min(frames_per_scene, length)
    even = [first + (2 * k + 1) * length // (2 * count) for k in range(count)]
    near = {(offset + stride // 2) // stride * stride for offset in even}
    # A long gap after a short scene makes a coarse grid, whose last point may be outside.
    inside = sorted(offset for offset in near if offset < first + length)
    return [scene.start + offset for offset in inside or [0]]


def sample_stride(length: int, frames_per_scene: int) -> int:
    """Smallest power of two that leaves at most CHOICE candidates per sampled frame.

    It increases with the scene's length, so a reader that does not yet know the length can discard
    the frames in between.
    """
    stride = 1
    while length > CHOICE * frames_per_scene * stride:
        stride *= 2
    return stride


def hsv_histogram(bgr: ImageU8) -> Histogram:
    """(H, W, 3) uint8 -> (n,) float32, sum 1: joint hue, saturation, value counts of 2 x 2 tiles.

    Tiles separate two shots of one set, which have the same colours at different positions.
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
class _ScannedFrame:
    """A frame's time and histogram. step: distance to the previous frame, 0 for the first."""

    timecode: FrameTimecode
    histogram: Histogram
    step: float


class HistogramCutDetector(SceneDetector):  # type: ignore[misc]  # no type hints in scenedetect
    """Finds a cut where no frame of the window before resembles any frame of the window after.

    The distance is half the sum of absolute histogram differences, in [0, 1]. Comparing whole
    windows instead of two neighbours keeps flash lights from being cuts: in a film scene with three
    cuts under flash light, 67 neighbouring pairs differ by more than 0.35; only the three cuts are
    found. Where the windows are calm, a cut needs only CALM_FRAC of the threshold, because two
    framings of one set can be that close (0.13 and more, while shots without a cut stayed below
    0.06).
    """

    def __init__(self, threshold: float, window: int) -> None:
        """threshold: distance that is always a cut. window: number of frames per side, >= 1."""
        super().__init__()
        self._threshold = threshold
        self._window = window
        self._recent: deque[_ScannedFrame] = deque(maxlen=2 * window)

    @property
    def last_histogram(self) -> Histogram:
        return self._recent[-1].histogram

    def process_frame(self, timecode: FrameTimecode, frame_img: ImageU8) -> list[FrameTimecode]:
        histogram = hsv_histogram(frame_img)
        step = _distance([self._recent[-1].histogram], [histogram]) if self._recent else 0.0
        self._recent.append(_ScannedFrame(timecode, histogram, step))
        return self._cuts_at(len(self._recent) - self._window)

    def post_process(self, timecode: FrameTimecode) -> list[FrameTimecode]:  # noqa: ARG002
        """Cuts among the last frames, which are followed by less than a window."""
        last = len(self._recent)
        return [
            cut
            for position in range(max(1, last - self._window + 1), last)
            for cut in self._cuts_at(position)
        ]

    def _cuts_at(self, position: int) -> list[FrameTimecode]:
        """Timecode of the recent frame at this position if there is a cut before it."""
        if position < 1:
            return []
        recent = list(self._recent)
        before, after = recent[max(0, position - self._window) : position], recent[position:]
        motion = max([frame.step for frame in (*before[1:], *after[1:])], default=0.0)
        calm = max(CALM_FRAC * self._threshold, MOTION_FACTOR * motion)
        required = min(self._threshold, calm)
        # Compare the neighbours first: this decides nearly every frame.
        if after[0].step <= required:
            return []
        if _distance([f.histogram for f in before], [f.histogram for f in after]) <= required:
            return []
        return [after[0].timecode]


def _distance(before: list[Histogram], after: list[Histogram]) -> float:
    """Smallest distance between a frame of the first list and one of the second."""
    difference = np.abs(np.stack(before)[:, None] - np.stack(after)[None])  # (B, A, n)
    return float(difference.sum(axis=-1).min()) / 2


class CutFinder:
    """Finds the cuts and dissolves of a video from its frames, added in order.

    window: number of frames of the shortest scene. count: number of frames added. settled: no scene
    that is not yet known begins before this frame. (A scene may still end before it: a dissolve is
    known only when it is over.)
    """

    def __init__(self, threshold: float, window: int) -> None:
        """threshold, window: arguments of HistogramCutDetector."""
        self._detector = HistogramCutDetector(threshold, window)
        self._dissolves = DissolveFinder(CALM_FRAC * threshold)
        self._start = 0  # of the present piece
        self._converter = VideoReformatter()
        self._size = (0, 0)
        self.window = window
        self.count = 0

    @property
    def settled(self) -> int:
        return max(0, self.count - max(self.window, STEADY) + 1)

    def add(self, frame: DecodedFrame) -> list[Cut]:
        """Add a frame; return the cuts and dissolves that became certain with it."""
        bgr = frame.pixels(self._converter, "bgr24", SCAN_SIDE_PX)
        if self.count == 0:
            self._size = bgr.shape[1], bgr.shape[0]
        elif (bgr.shape[1], bgr.shape[0]) != self._size:
            bgr = np.asarray(cv2.resize(bgr, self._size), np.uint8)
        hard = self._detector.process_frame(_timecode(self.count), bgr)
        dissolve = self._dissolves.add(bgr, self._detector.last_histogram)
        cuts = self._sudden(hard)
        if dissolve is not None:
            cuts.append(Cut(dissolve.stop, max(dissolve.start, self.settled)))
        self.count += 1
        return self._new(cuts)

    def finish(self) -> list[Cut]:
        """The cuts among the last frames, and the end of the video."""
        hard = self._detector.post_process(_timecode(max(0, self.count - 1)))
        return [*self._new(self._sudden(hard)), Cut(self.count, self.count)]

    def _sudden(self, timecodes: list[FrameTimecode]) -> list[Cut]:
        """Hard cuts, without jumps of the histogram in the middle of a dissolve."""
        frames = [timecode.frame_num for timecode in timecodes]
        return [Cut(frame, frame) for frame in frames if self._dissolves.is_sudden(frame)]

    def _new(self, cuts: list[Cut]) -> list[Cut]:
        """Cuts in order, without those inside a dissolve or before the present piece."""
        new = []
        for cut in sorted(cuts, key=lambda cut: cut.stop):
            if cut.start > self._start:
                new.append(Cut(max(self._start, cut.stop), cut.start))
                self._start = cut.start
                self._dissolves.restart(cut.start)
        return new


def _timecode(index: int) -> FrameTimecode:
    """PySceneDetect's identifier of a frame; the frame rate has no effect."""
    return FrameTimecode(index, fps=FALLBACK_FPS)
