"""Scoring of a video file: a few frames per scene, their mean, and the highest scene."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loky import cpu_count

from pipeline.bundle.load import FrameSampling
from pipeline.core.arrays import ImageU8
from pipeline.decision.thresholds import Thresholds
from pipeline.frames.scenes import Scene
from pipeline.runtime.errors import DecodeError
from serve.detector.inference import ImageResult, SwapDetector
from serve.detector.verdicts import ImageVerdict, alarm, mean_verdict
from serve.settings import Settings
from serve.video.files import VideoLimits, probed
from serve.video.sampling import SamplePlan, Sampling, plan_samples, sampled_frames
from serve.video.tracks import Track, tracks_of

Frame = TypeVar("Frame")
Result = TypeVar("Result")


def map_in_order(
    pool: Executor, function: Callable[[Frame], Result], items: Iterable[Frame], ahead: int
) -> Iterator[Result]:
    """Yield function(item) in the order of the items, with at most `ahead` pending calls.

    Unlike Executor.map, items are taken only when needed, so that decoded frames do not pile up.
    An exception of a call is raised in place of its result; the pending calls are cancelled.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Result of one sampled frame. scene: index in the list of scenes."""

    frame_index: int
    timestamp_s: float
    scene: int
    result: ImageResult

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
    """Result of one scene, frames [start, stop). score: mean over its counted frames."""

    start: int
    stop: int
    verdict: ImageVerdict
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
    """Result of a video.

    score: mean over the counted frames. highest_scene: index of the scene with the highest score,
    which shows a short swap that the mean of a long, otherwise real video hides; None without any
    face. tracks: single faces through their scenes, the most alarming first.
    """

    verdict: ImageVerdict
    score: float | None
    highest_scene: int | None
    scenes: tuple[SceneResult, ...]
    frames: tuple[FrameResult, ...]
    tracks: tuple[Track, ...] = ()
    warnings: tuple[str, ...] = ()


def score_video(
    detector: SwapDetector, path: Path, settings: Settings, pool: Executor, workers: int
) -> VideoResult:
    """Score a video of at most `max_video_s`, read in this process.

    workers: number of frames scored in parallel. The decoder uses all cores, because only one video
    is read at a time. Raises DecodeError or TooLargeError; no message contains the path or the
    file's content.
    """
    limits = video_limits(settings)
    sampling = sampling_of(detector.bundle.spec.sampling, settings)
    threads = settings.threads or cpu_count()
    try:
        probed(path, limits)
        plan = plan_samples(path, sampling, threads)
        stream = sampled_frames(path, plan.picks, limits, threads)
        frames = _scored_frames(detector, plan, stream, pool, workers)
        return summary(
            plan.scenes, tuple(frames), detector.decision.thresholds, warnings=plan.warnings
        )
    except DecodeError as error:
        raise type(error)(str(error).removeprefix(f"{path}: ")) from error


def video_limits(settings: Settings) -> VideoLimits:
    return VideoLimits(settings.max_video_s, settings.max_image_pixels)


def sampling_of(trained: FrameSampling, settings: Settings) -> Sampling:
    """The bundle's sampling, with the maximum number of frames of the settings."""
    return Sampling(
        frames_per_scene=trained.frames_per_scene,
        scene_threshold=trained.scene_threshold,
        min_scene_s=trained.min_scene_s,
        max_frames=settings.max_video_frames,
    )


def summary(
    scenes: Sequence[Scene],
    frames: Sequence[FrameResult],
    thresholds: Thresholds,
    warnings: Sequence[str] = (),
) -> VideoResult:
    """Verdicts of a video, its scenes and its tracks, from the sampled frames."""
    by_scene = [[f for f in frames if f.scene == number] for number in range(len(scenes))]
    results = tuple(
        SceneResult(scene.start, scene.stop, *_mean(group, thresholds))
        for scene, group in zip(scenes, by_scene, strict=True)
    )
    decision, score = _mean(frames, thresholds)
    scored = [n for n, scene in enumerate(results) if scene.score is not None]
    highest = max(scored, key=lambda n: results[n].score or 0.0) if scored else None
    notes = list(warnings)
    if highest is not None and alarm(results[highest].verdict) > alarm(decision):
        notes.append(
            f"scene {highest + 1} of {len(scenes)} is {results[highest].verdict} on its own; the"
            " mean over the whole video hides it"
        )
    tracks = tracks_of([f.result for f in frames], [f.scene for f in frames], thresholds)
    return VideoResult(decision, score, highest, results, tuple(frames), tracks, tuple(notes))


def _mean(
    frames: Sequence[FrameResult], thresholds: Thresholds
) -> tuple[ImageVerdict, float | None]:
    """Verdict and mean score of the frames with a face."""
    results = [f.result for f in frames]
    scored = [(r.verdict, r.score) for r in results if r.score is not None]
    return mean_verdict(scored, thresholds) if scored else ("no_face", None)


def _scored_frames(
    detector: SwapDetector,
    plan: SamplePlan,
    stream: Iterator[tuple[int, float, ImageU8]],
    pool: Executor,
    workers: int,
) -> Iterator[FrameResult]:
    scene_of = dict(plan.picks)

    def score(frame: tuple[int, float, ImageU8]) -> FrameResult:
        index, timestamp_s, rgb = frame
        return FrameResult(index, timestamp_s, scene_of[index], detector.score_image(rgb))

    yield from map_in_order(pool, score, stream, ahead=2 * workers)
