"""Sampling frames of every scene of a video, in one decoding pass if memory allows it."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.frames.dissolves import Cut
from pipeline.frames.scenes import (
    CHOICE,
    CutFinder,
    Scene,
    detect_scenes,
    sample_indices,
    sample_stride,
    window_of,
)
from pipeline.media.video import DecodedFrame, decode_frames, probe

# Decoded frames are nearly always yuv420p.
BYTES_PER_PX = 1.5
# A video whose waiting frames exceed this is decoded in two passes.
MAX_KEPT_BYTES = 512 << 20


@dataclass(frozen=True)
class SceneFrame:
    """A frame sampled from a scene, which is given by its number."""

    scene: int
    frame: DecodedFrame


def scene_frames(
    path: Path,
    threshold: float,
    min_scene_s: float,
    frames_per_scene: int,
    *,
    threads: int = 1,
    max_kept_bytes: int = MAX_KEPT_BYTES,
) -> Iterator[SceneFrame]:
    """Yield the frames that `detect_scenes` and `sample_indices` select, in order.

    threads: number of cores for the decoder. max_kept_bytes: limit on frames waiting for the end of
    their scene; a video that would need more is decoded twice, with the same result. Raises
    DecodeError, possibly after some frames.
    """
    info = probe(path)
    window = window_of(info, min_scene_s)
    waiting = window + CHOICE * frames_per_scene
    stored_px = info.width_px * info.height_px / info.pixel_aspect
    if waiting * BYTES_PER_PX * stored_px > max_kept_bytes:
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
    """Yield the frames at these indices; scene_of: scene number of each index.

    Indices past the end of the video are left out. Raises DecodeError.
    """
    last = max(scene_of, default=-1)
    if last < 0:
        return
    with closing(decode_frames(path, threads)) as frames:
        for frame in frames:
            if frame.index in scene_of:
                yield SceneFrame(scene_of[frame.index], frame)
            if frame.index == last:
                return


def _one_pass(
    frames: Iterator[DecodedFrame], finder: CutFinder, frames_per_scene: int
) -> Iterator[SceneFrame]:
    waiting: deque[DecodedFrame] = deque()  # a cut may still be found among these
    piece, number = _Piece(0, frames_per_scene), 0

    def take(stop: int) -> None:
        while waiting and waiting[0].index < stop:
            piece.add(waiting.popleft())

    def end(cut: Cut) -> Iterator[SceneFrame]:
        """Samples of the piece that ends with the cut, if it is long enough for a scene."""
        nonlocal piece, number
        take(cut.start)
        scene = Scene(piece.start, cut.stop, cut.start - cut.stop)
        if scene.length >= finder.window:
            for frame in piece.samples(scene):
                yield SceneFrame(number, frame)
            number += 1
        piece = _Piece(cut.start, frames_per_scene)

    for frame in frames:
        waiting.append(frame)
        for cut in finder.add(frame):
            yield from end(cut)
        take(finder.settled)
    for cut in finder.finish():
        yield from end(cut)


class _Piece:
    """The frames since the last cut: their number, and the candidates for samples.

    start: the first of them.
    """

    def __init__(self, start: int, frames_per_scene: int) -> None:
        self.start, self._count = start, frames_per_scene
        self._candidates: dict[int, DecodedFrame] = {}
        self._length = 0

    def add(self, frame: DecodedFrame) -> None:
        """Append the next frame; drop candidates that a larger stride leaves out."""
        stride = sample_stride(self._length + 1, self._count)
        if stride != sample_stride(self._length, self._count):
            old, start = self._candidates, self.start
            self._candidates = {i: f for i, f in old.items() if (i - start) % stride == 0}
        if self._length % stride == 0:
            self._candidates[frame.index] = frame
        self._length += 1

    def samples(self, scene: Scene) -> list[DecodedFrame]:
        """Samples of the scene, whose frames and gap are the frames added."""
        return [self._candidates[index] for index in sample_indices(scene, self._count)]
