"""From a video file to a verdict: a few frames a scene, their mean, and the highest scene."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bundle import FrameSampling
from pipeline.errors import DecodeError, TooLargeError
from pipeline.fusion import fuse_frames
from pipeline.preprocess import ImageU8
from pipeline.scenes import Scene, detect_scenes, sample_indices
from pipeline.thresholds import VERDICTS, Thresholds, verdict
from pipeline.video import probe, read_frames
from serve.inference import PictureResult, PictureVerdict, SwapDetector
from serve.parallel import map_in_order
from serve.settings import Settings

HEAD_BYTES = 512
TS_PACKET = 188


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One sampled frame. scene: its position in the list of scenes."""

    frame_index: int
    timestamp_s: float
    scene: int
    result: PictureResult

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        score = self.result.score
        return {
            "frame_index": self.frame_index,
            "timestamp_s": round(self.timestamp_s, 3),
            "scene": self.scene,
            "verdict": self.result.verdict,
            "score": None if score is None else round(score, 6),
            "faces": [face.to_dict() for face in self.result.faces],
        }


@dataclass(frozen=True)
class SceneResult:
    """Frames [start, stop) of the video between two cuts; score: mean of its counted frames."""

    start: int
    stop: int
    verdict: PictureVerdict
    score: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "start_frame": self.start,
            "stop_frame": self.stop,
            "verdict": self.verdict,
            "score": None if self.score is None else round(self.score, 6),
        }


@dataclass(frozen=True, eq=False)
class VideoResult:
    """score: mean over the counted frames. highest_scene: position of the scene with the highest
    score, which a short swap raises and a long real rest does not hide; None without any face."""

    verdict: PictureVerdict
    score: float | None
    highest_scene: int | None
    scenes: tuple[SceneResult, ...]
    frames: tuple[FrameResult, ...]
    warnings: tuple[str, ...] = ()


def is_video(path: Path) -> bool:
    """Whether the content starts like one of the containers that are read.

    Playlists, concat scripts and SDP texts have no such start, whatever their names are.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    starts = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba")
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
    # Cameras put four bytes of time before each packet (.m2ts).
    transport_stream = any(
        head[at : at + 1] == head[at + size : at + size + 1] == b"\x47"
        for at, size in ((0, TS_PACKET), (4, TS_PACKET + 4))
    )
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return head.startswith(starts) or head[4:8] in boxes or transport_stream or avi


def judge_video(
    detector: SwapDetector, path: Path, settings: Settings, pool: Executor, workers: int
) -> VideoResult:
    """Judge a video of at most `max_video_s`. workers: frames judged at the same time.

    Raises DecodeError or TooLargeError; no message repeats the path or the file's content.
    """
    try:
        _check_limits(path, settings)
        sampling = detector.bundle.spec.sampling
        scenes = _scenes(path, sampling, workers)
        samples = _samples(scenes, sampling.frames_per_scene)
        picked = _thinned(samples, settings.max_video_frames)
        frames = tuple(_judged_frames(detector, path, dict(picked), pool, workers))
    except DecodeError as error:
        raise type(error)(str(error).removeprefix(f"{path}: ")) from error
    warnings = []
    if len(picked) < len(samples):
        warnings.append(f"only {len(picked)} of {len(samples)} sampled frames were examined")
    return summary(scenes, frames, detector.decision.thresholds, warnings)


def summary(
    scenes: Sequence[Scene],
    frames: Sequence[FrameResult],
    thresholds: Thresholds,
    warnings: Sequence[str] = (),
) -> VideoResult:
    """The verdict of a video and of each of its scenes from the sampled frames."""
    by_scene = [[f for f in frames if f.scene == number] for number in range(len(scenes))]
    results = tuple(
        SceneResult(scene.start, scene.stop, *_mean(group, thresholds))
        for scene, group in zip(scenes, by_scene, strict=True)
    )
    decision, score = _mean(frames, thresholds)
    scored = [n for n, scene in enumerate(results) if scene.score is not None]
    highest = max(scored, key=lambda n: results[n].score or 0.0) if scored else None
    notes = list(warnings)
    if highest is not None and _more_alarming(results[highest].verdict, decision):
        notes.append(
            f"scene {highest} alone is {results[highest].verdict}: the mean over the whole video"
            " hides it"
        )
    return VideoResult(decision, score, highest, results, tuple(frames), tuple(notes))


def _mean(
    frames: Sequence[FrameResult], thresholds: Thresholds
) -> tuple[PictureVerdict, float | None]:
    """Verdict and mean score; undecided frames count only where there are no others."""
    with_face = [f.result for f in frames if f.result.score is not None]
    if not with_face:
        return "no_face", None
    decided = [r for r in with_face if r.verdict != "undecided"]
    score = fuse_frames([r.score for r in decided or with_face if r.score is not None])
    return (verdict(score, thresholds) if decided else "undecided"), score


def _more_alarming(first: PictureVerdict, second: PictureVerdict) -> bool:
    order = ("no_face", *VERDICTS)
    return order.index(first) > order.index(second)


def _check_limits(path: Path, settings: Settings) -> None:
    info = probe(path)
    if info.duration_s > settings.max_video_s:
        raise TooLargeError(
            f"video of {info.duration_s:.6g} s is above the limit of {settings.max_video_s:.6g} s"
            " (INSWAPPER_MAX_VIDEO_S)"
        )
    if info.width_px * info.height_px > settings.max_image_pixels:
        raise TooLargeError(
            f"video of {info.width_px}x{info.height_px} px is above the limit of"
            f" {settings.max_image_pixels} px (INSWAPPER_MAX_IMAGE_PIXELS)"
        )


def _scenes(path: Path, sampling: FrameSampling, threads: int) -> list[Scene]:
    """Scenes of at least min_scene_s, or all pieces of a video that has none as long."""
    find = partial(detect_scenes, path, sampling.scene_threshold, threads=threads)
    return find(min_scene_s=sampling.min_scene_s) or find(min_scene_s=0.0)


def _samples(scenes: Sequence[Scene], frames_per_scene: int) -> list[tuple[int, int]]:
    """(frame index, position of its scene), the same number a scene."""
    return [
        (index, number)
        for number, scene in enumerate(scenes)
        for index in sample_indices(scene, frames_per_scene)
    ]


def _thinned(samples: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most `most` of the samples, evenly spread."""
    if len(samples) <= most:
        return samples
    positions = np.linspace(0, len(samples) - 1, most).round().astype(int)
    return [samples[position] for position in positions]


def _judged_frames(
    detector: SwapDetector, path: Path, picked: dict[int, int], pool: Executor, workers: int
) -> Iterator[FrameResult]:
    def judge(frame: tuple[int, float, ImageU8]) -> FrameResult:
        index, timestamp_s, rgb = frame
        return FrameResult(index, timestamp_s, picked[index], detector.judge_picture(rgb))

    frames = read_frames(path, picked, threads=workers)
    yield from map_in_order(pool, judge, frames, ahead=2 * workers)
