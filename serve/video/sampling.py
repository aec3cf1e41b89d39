"""Selection of the frames of a video to score, and decoding of their pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.core.arrays import ImageU8
from pipeline.frames.scenes import Scene, detect_scenes, sample_indices
from pipeline.media.video import read_frames
from serve.video.files import VideoLimits

FramePicks = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of training. max_frames: maximum number of frames of one video."""

    frames_per_scene: int
    scene_threshold: float
    min_scene_s: float
    max_frames: int


@dataclass(frozen=True)
class SamplePlan:
    """Frames to score.

    picks: (frame index, index of its scene), ascending. wanted: number of picks before thinning.
    """

    scenes: tuple[Scene, ...]
    picks: FramePicks
    wanted: int

    @property
    def warnings(self) -> list[str]:
        if len(self.picks) == self.wanted:
            return []
        return [f"only {len(self.picks)} of {self.wanted} sampled frames were examined"]


def plan_samples(path: Path, sampling: Sampling, threads: int = 1) -> SamplePlan:
    """Detect the scenes of a video and choose frames of each. Raises DecodeError.

    Scenes shorter than min_scene_s are skipped, unless the video has no others.
    """
    find = partial(detect_scenes, path, sampling.scene_threshold, threads=threads)
    scenes = find(min_scene_s=sampling.min_scene_s) or find(min_scene_s=0.0)
    wanted = [
        (index, number)
        for number, scene in enumerate(scenes)
        for index in sample_indices(scene, sampling.frames_per_scene)
    ]
    return SamplePlan(tuple(scenes), _thinned(wanted, sampling.max_frames), len(wanted))


def sampled_frames(
    path: Path, picks: FramePicks, limits: VideoLimits, threads: int = 1
) -> Iterator[tuple[int, float, ImageU8]]:
    """(frame index, timestamp in seconds, rgb) of each pick. Raises DecodeError or TooLargeError.

    The limits are checked for each frame, because the header's length and size may be wrong.
    """
    for index, timestamp_s, rgb in read_frames(path, [i for i, _ in picks], threads=threads):
        limits.check_length(timestamp_s)
        limits.check_size(rgb.shape[1], rgb.shape[0])
        yield index, timestamp_s, rgb


def _thinned(samples: Sequence[tuple[int, int]], most: int) -> FramePicks:
    """At most `most` of the samples, evenly spaced."""
    if len(samples) <= most:
        return tuple(samples)
    positions = np.linspace(0, len(samples) - 1, most).round().astype(int)
    return tuple(samples[position] for position in positions)
