"""Benchmark of scene detection and frame sampling against other ways to read a video."""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
from loky import cpu_count

from pipeline.core.arrays import ImageU8
from pipeline.frames.sampling import scene_frames
from pipeline.frames.scenes import detect_scenes
from pipeline.media.video import THREADS_PER_CORE
from pipeline.runtime.params import load_params
from tests.bench.clips import write_clip
from tests.bench.options import Options
from tests.bench.rows import Goal, Row, faster, longer, number
from tests.bench.timing import timed

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
CLIP_S = 20
# Cuts that differ by at most this number of frames are the same cut.
SAME_CUT = 1


def rows(options: Options) -> list[Row]:
    """Measure with all cores; both libraries decode with threads. Raises PackageError."""
    cv2.setNumThreads(cpu_count())
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (width, height) in SIZES.items():
            clip = write_clip(Path(folder) / f"{name}.mp4", width, height, CLIP_S)
            found += clip_rows(name, clip, options.rounds)
        if options.clip is not None:
            found += clip_rows("your clip", options.clip, options.rounds)
    return found


def clip_rows(name: str, clip: Path, rounds: int) -> list[Row]:
    ours, wanted = cuts(clip), picks(clip)
    theirs: list[int] = []
    works = {
        "ours": lambda: scan_and_extract(clip),
        "opencv": lambda: opencv_reads_all(clip),
        "pyscenedetect": lambda: theirs.__setitem__(slice(None), pyscenedetect_cuts(clip)),
        "bare": lambda: sum(1 for _ in bare_decode(clip, wanted)),
    }
    found = timed(works, rounds)
    work, frames = f"scenes and frames, {name}", opencv_reads_all(clip)

    def row(against: str, other: str, goal: Goal) -> Row:
        make = faster if goal.at_least else longer
        unit = "frames/s" if goal.at_least else "ms per frame"
        return make(work, against, found["ours"], found[other], frames, unit, goal)

    return [
        row("OpenCV reads every frame", "opencv", Goal(2)),
        row("PySceneDetect's command line (detect-content)", "pyscenedetect", Goal(2)),
        row("one bare decode that converts the sampled frames", "bare", Goal(1.3, at_least=False)),
        number(
            f"{work}: cuts found by only one of ours and PySceneDetect",
            len(unmatched(ours, theirs)),
            f"of {len(ours)} cuts",
            Goal(0, at_least=False, of="ours"),
        ),
    ]


def scan_and_extract(clip: Path) -> int:
    """Process a video as stage extract_frames does, without writing; the number of frames."""
    return len(picks(clip))


def picks(clip: Path) -> list[int]:
    """Indices of the frames that training uses."""
    params = load_params().extract_frames
    frames = scene_frames(
        clip,
        params.scene_threshold,
        params.min_scene_s,
        params.frames_per_scene,
        threads=cpu_count(),
    )
    return [sampled.frame.index for sampled in frames]


def cuts(clip: Path) -> list[int]:
    """First frames of all scenes except the first one."""
    params = load_params().extract_frames
    return [s.start for s in detect_scenes(clip, params.scene_threshold, params.min_scene_s)][1:]


def opencv_reads_all(clip: Path) -> int:
    capture, count = cv2.VideoCapture(str(clip)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def pyscenedetect_cuts(clip: Path) -> list[int]:
    """First frames of all scenes except the first one, from PySceneDetect's command line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scenedetect", "--quiet", "--input", str(clip)]
        command += ["--output", folder, "detect-content", "list-scenes", "--skip-cuts"]
        subprocess.run(command, check=True, capture_output=True)
        (listed,) = Path(folder).glob("*.csv")
        with listed.open(newline="") as file:
            scenes = list(csv.DictReader(file))
    return [int(scene["Start Frame"]) - 1 for scene in scenes[1:]]


def bare_decode(clip: Path, wanted: Sequence[int]) -> list[ImageU8]:
    """Decode all frames with PyAV and convert the wanted ones."""
    chosen = set(wanted)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = THREADS_PER_CORE * cpu_count()
        stream.thread_type = "AUTO"
        return [
            frame.to_ndarray(format="rgb24")
            for index, frame in enumerate(container.decode(stream))
            if index in chosen
        ]


def unmatched(ours: Sequence[int], theirs: Sequence[int]) -> list[int]:
    """Cuts that are in only one of the lists."""

    def missing(some: Sequence[int], others: Sequence[int]) -> list[int]:
        return [cut for cut in some if not any(abs(cut - o) <= SAME_CUT for o in others)]

    return missing(ours, theirs) + missing(theirs, ours)
