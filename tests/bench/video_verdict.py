"""Benchmark of a video from file to verdict, against a lower bound and simpler methods."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
from loky import cpu_count
from scenedetect import ContentDetector, detect

from pipeline.frames.scenes import Scene, sample_indices
from serve.detector.inference import SwapDetector
from serve.settings import load_settings
from serve.video.sampling import plan_samples
from serve.video.videos import sampling_of, score_video
from tests.bench.clips import FPS, write_clip
from tests.bench.options import Options
from tests.bench.references import served
from tests.bench.rows import Goal, Row, faster, longer
from tests.bench.scene_scan import bare_decode
from tests.bench.timing import timed

CLIP_S = 30
# Number of frames scored to extrapolate the time for every frame.
SCORED_FRAMES = 40
WORK = f"video to verdict, {CLIP_S} s of 720p"


def rows(options: Options) -> list[Row]:
    """Raises BundleError, DetectorError or PackageError."""
    cv2.setNumThreads(cpu_count())
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        clip = write_clip(Path(folder) / "clip.mp4", 1280, 720, CLIP_S)
        detector, settings = served(), load_settings()
        works: dict[str, Callable[[], object]] = {
            "ours": lambda: score_video(detector, clip, settings, pool, workers=1),
            "least": partial(least, detector, clip, sampled(detector, clip)),
            "plain": partial(scan_seek_score, detector, clip),
            "every frame": partial(score_every_frame, detector, clip, SCORED_FRAMES),
        }
        found = timed(works, options.few_rounds)
    found["every frame"] = found["every frame"].scaled(CLIP_S * FPS / SCORED_FRAMES)
    ours, every = found["ours"], f"every frame scored (extrapolated from {SCORED_FRAMES})"
    limit = "one bare decode, then scoring the sampled frames"
    plain = "PySceneDetect, seek with OpenCV, score one by one"
    return [
        longer(WORK, limit, ours, found["least"], 1, "ms", Goal(1.3, at_least=False)),
        faster(WORK, plain, ours, found["plain"], CLIP_S, "s of video/s", None),
        faster(WORK, every, ours, found["every frame"], CLIP_S, "s of video/s", None),
    ]


def sampled(detector: SwapDetector, clip: Path) -> list[int]:
    """Indices of the frames that our method scores."""
    sampling = sampling_of(detector.bundle.spec.sampling, load_settings())
    return [index for index, _ in plan_samples(clip, sampling).picks]


def least(detector: SwapDetector, clip: Path, picks: list[int]) -> None:
    """Lower bound: decode every frame once and score the sampled ones."""
    for rgb in bare_decode(clip, picks):
        detector.score_image(rgb)


def scan_seek_score(detector: SwapDetector, clip: Path) -> None:
    """Detect scenes with PySceneDetect, then seek to each sampled frame and score it."""
    count = detector.bundle.spec.sampling.frames_per_scene
    scenes = detect(str(clip), ContentDetector(), start_in_scene=True)
    capture = cv2.VideoCapture(str(clip))
    for start, stop in scenes:
        for index in sample_indices(Scene(start.frame_num, stop.frame_num), count):
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            detector.score_image(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB))
    capture.release()


def score_every_frame(detector: SwapDetector, clip: Path, count: int) -> None:
    """Read with OpenCV and score the first `count` frames."""
    capture = cv2.VideoCapture(str(clip))
    for found, bgr in islice(iter(capture.read, None), count):
        if found:
            detector.score_image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    capture.release()
