"""The sampled frames of every scene of a video, in one decoding pass where memory allows it."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from av.video.reformatter import VideoReformatter

from pipeline.core.arrays import ImageU8
from pipeline.frames.scenes import (
    CHOICE,
    CutFinder,
    Scene,
    detect_scenes,
    sample_indices,
    sample_stride,
    window_of,
)
from pipeline.media.video import DecodedFrame, decode_frames, probe, read_frames

# A decoded frame is yuv420p nearly always; those of a larger video are read in a second pass.
BYTES_PER_PX = 1.5
MAX_KEPT_BYTES = 512 << 20


@dataclass(frozen=True)
class SceneFrame:
    """A sampled frame: its scene's number, its own, its time and (H, W, 3) uint8 pixels."""

    scene: int
    index: int
    timestamp_s: float
    rgb: ImageU8


def scene_frames(
    path: Path,
    threshold: float,
    min_scene_s: float,
    frames_per_scene: int,
    *,
    threads: int = 1,
    max_kept_bytes: int = MAX_KEPT_BYTES,
) -> Iterator[SceneFrame]:
    """The frames that `detect_scenes` and `sample_indices` name, in order.

    threads: cores for the decoder. max_kept_bytes: of frames that wait for their scene to end; a
    video that would take more is decoded twice, with the same result. Raises DecodeError, after
    some frames perhaps.
    """
    info = probe(path)
    window = window_of(info, min_scene_s)
    kept = window + CHOICE * frames_per_scene
    if kept * BYTES_PER_PX * info.width_px * info.height_px > max_kept_bytes:
        scenes = detect_scenes(path, threshold, min_scene_s, threads=threads)
        scene_of = {
            index: number
            for number, scene in enumerate(scenes)
            for index in sample_indices(scene, frames_per_scene)
        }
        yield from frames_at(path, scene_of, threads)
        return
    with closing(decode_frames(path, threads)) as frames:
        yield from _one_pass(frames, CutFinder(threshold, window), frames_per_scene)


def frames_at(path: Path, scene_of: Mapping[int, int], threads: int = 1) -> Iterator[SceneFrame]:
    """The frames of these indices that the video has; scene_of: each one's scene.

    Raises DecodeError.
    """
    for index, timestamp_s, rgb in read_frames(path, scene_of, threads=threads):
        yield SceneFrame(scene_of[index], index, timestamp_s, rgb)


def _one_pass(
    frames: Iterator[DecodedFrame], finder: CutFinder, frames_per_scene: int
) -> Iterator[SceneFrame]:
    converter = VideoReformatter()
    waiting: deque[DecodedFrame] = deque()  # a cut may yet be found among them
    piece, number = _Piece(0, frames_per_scene), 0

    def take(stop: int) -> None:
        while waiting and waiting[0].index < stop:
            piece.add(waiting.popleft())

    def end(stop: int) -> Iterator[SceneFrame]:
        """Of the piece that ends before this frame, if it is long enough for a scene."""
        nonlocal piece, number
        take(stop)
        if piece.length >= finder.window:
            for frame in piece.samples():
                rgb = frame.pixels(converter, "rgb24")
                yield SceneFrame(number, frame.index, frame.timestamp_s, rgb)
            number += 1
        piece = _Piece(stop, frames_per_scene)

    for frame in frames:
        waiting.append(frame)
        for cut in finder.add(frame):
            yield from end(cut)
        take(finder.settled)
    for cut in (*finder.finish(), finder.count):
        yield from end(cut)


class _Piece:
    """What lies between two cuts so far: its length, and the frames to choose from."""

    def __init__(self, start: int, frames_per_scene: int) -> None:
        self._start, self._count = start, frames_per_scene
        self._kept: dict[int, DecodedFrame] = {}
        self.length = 0

    def add(self, frame: DecodedFrame) -> None:
        """The next frame."""
        stride = sample_stride(self.length + 1, self._count)
        if stride != sample_stride(self.length, self._count):
            self._kept = {i: f for i, f in self._kept.items() if (i - self._start) % stride == 0}
        if self.length % stride == 0:
            self._kept[frame.index] = frame
        self.length += 1

    def samples(self) -> list[DecodedFrame]:
        scene = Scene(self._start, self._start + self.length)
        return [self._kept[index] for index in sample_indices(scene, self._count)]
