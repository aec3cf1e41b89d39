"""A video from file to verdict, against the least it can take and against plainer ways."""

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
# Of every frame, so many are judged and the rest is reckoned.
JUDGED_FRAMES = 40
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
            "plain": partial(scan_seek_judge, detector, clip),
            "every frame": partial(judge_every_frame, detector, clip, JUDGED_FRAMES),
        }
        found = timed(works, options.few_rounds)
    found["every frame"] = found["every frame"].scaled(CLIP_S * FPS / JUDGED_FRAMES)
    ours, every = found["ours"], f"every frame judged ({JUDGED_FRAMES} of them, reckoned up)"
    limit = "one bare decode and the sampled frames' judgements"
    plain = "PySceneDetect, seek with OpenCV, judge one by one"
    return [
        longer(WORK, limit, ours, found["least"], 1, "ms", Goal(1.3, at_least=False)),
        faster(WORK, plain, ours, found["plain"], CLIP_S, "s of video/s", None),
        faster(WORK, every, ours, found["every frame"], CLIP_S, "s of video/s", None),
    ]


def sampled(detector: SwapDetector, clip: Path) -> list[int]:
    """Indices of the frames that ours judges."""
    sampling = sampling_of(detector.bundle.spec.sampling, load_settings())
    return [index for index, _ in plan_samples(clip, sampling).picks]


def least(detector: SwapDetector, clip: Path, picks: list[int]) -> None:
    """What cannot be saved: every frame is decoded once, the sampled ones are judged."""
    for rgb in bare_decode(clip, picks):
        detector.score_image(rgb)


def scan_seek_judge(detector: SwapDetector, clip: Path) -> None:
    """Scenes by PySceneDetect, then each sampled frame by seeking to it."""
    count = detector.bundle.spec.sampling.frames_per_scene
    scenes = detect(str(clip), ContentDetector(), start_in_scene=True)
    capture = cv2.VideoCapture(str(clip))
    for start, stop in scenes:
        for index in sample_indices(Scene(start.frame_num, stop.frame_num), count):
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            detector.score_image(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB))
    capture.release()


def judge_every_frame(detector: SwapDetector, clip: Path, count: int) -> None:
    """Read with OpenCV and judge the first `count` frames."""
    capture = cv2.VideoCapture(str(clip))
    for found, bgr in islice(iter(capture.read, None), count):
        if found:
            detector.score_image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    capture.release()
