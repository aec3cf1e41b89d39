"""Cheap measurements that no other report has, on the sample as `dvc checkout` restores it.

About a minute. Seconds are processor time, and what is timed by the clock is only compared within a
round, since both hardly depend on what else the machine does.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.core.labels import REAL, SPLITS
from pipeline.core.manifest import CropRow, FrameRow, InputRow, SplitRow, read_rows, write_rows
from pipeline.crops.cropping import CropJob, crop_frames
from pipeline.faces.detector import find_faces
from pipeline.frames.extraction import extract_frames
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.params import load_params
from pipeline.training.store.packing import pack
from pipeline.training.store.reader import open_zarr
from pipeline.views.preprocess import Preprocess
from serve.detector.cores import usable_cores
from serve.detector.images import decode_picture
from serve.detector.inference import MIN_FOUND_PX
from tests.bench.clips import write_clip
from tests.bench.growth import processor_seconds
from tests.bench.judges import served
from tests.bench.picture_verdict import MAX_PIXELS
from tests.bench.timing import timed, times_longer
from tests.loadtest.inputs import encoded, photograph

DATA = Path("data")
MANIFESTS = DATA / "manifests"
NEEDED = ("manifests/crops.csv", "manifests/raw.csv", "zarr/test.zarr", "crops", "frames")
ROUNDS = 5
# Three scenes.
CLIP_S = 12
PACKED_CROPS = 300
DVC_FILES = 1000
# Enough for the spread of service times; the sample's stills are a hundred.
QUANTILES = np.linspace(0, 1, 21)


def small_measures() -> dict[str, Any]:
    """Raises PipelineError when the sample is not there."""
    for name in NEEDED:
        if not (DATA / name).exists():
            raise PipelineError(
                f"{DATA / name}: not found; run `dvc checkout` or `dvc repro` first"
            )
    parts = {
        "storage": storage,
        "preparation": preparation,
        "manifest": manifest,
        "pack": packing,
        "dvc": dvc,
        "picture": picture,
    }
    found: dict[str, Any] = {}
    for name, measure in parts.items():
        print(f"scale: measuring {name}", file=sys.stderr, flush=True)
        found[name] = measure()
    return found


def storage() -> dict[str, float]:
    """Bytes and files of the sample, per crop and per frame (with masks where there are any)."""
    rows = read_rows(MANIFESTS / "crops.csv", CropRow)
    crops = len(rows)
    frames = read_rows(MANIFESTS / "raw.csv", FrameRow)
    zarr, pngs, stills = (_sizes(DATA / name) for name in ("zarr", "crops", "frames"))
    return {
        "crops_per_face": crops / len({row.face_id for row in rows}),
        "zarr_bytes_per_crop": sum(zarr) / crops,
        "zarr_files_per_crop": len(zarr) / crops,
        "png_bytes_per_crop": sum(pngs) / crops,
        "png_files_per_crop": len(pngs) / crops,
        "frame_files": len(stills) / len(frames),
    }


def preparation() -> dict[str, float]:
    """A 720p clip through extract_frames and crop_faces, on one core.

    Processor seconds: of the one a second of video, of the other a frame that it took; bytes of a
    frame as PNG.
    """
    cv2.setNumThreads(1)
    params = load_params()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = _input_row(write_clip(folder / "clip.mp4", 1280, 720, CLIP_S))
        extract = partial(extract_frames, [video], folder / "frames", params.extract_frames, 1)
        frames = extract().rows
        job = CropJob(
            params.crop_faces, Preprocess.from_params(params.preprocess), folder / "crops"
        )
        return {
            "frames_per_s": len(frames) / CLIP_S,
            "extract_s_per_s": _processor_s(extract) / CLIP_S,
            "crop_s_per_frame": _processor_s(lambda: crop_frames(frames, job, 1)) / len(frames),
            "frame_bytes": sum(_sizes(folder / "frames")) / len(frames),
        }


def manifest() -> dict[str, float]:
    """A row of crops.csv: bytes in the file, seconds and peak memory of reading it strictly, and
    memory of the table that training keeps."""
    path = MANIFESTS / "crops.csv"
    tracemalloc.start()
    rows = len(read_rows(path, CropRow))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    table = open_zarr(DATA / "zarr/test.zarr").table
    return {
        "bytes_per_row": path.stat().st_size / rows,
        "read_s_per_row": _processor_s(lambda: read_rows(path, CropRow)) / rows,
        "peak_bytes_per_row": peak / rows,
        "table_bytes_per_row": float(table.memory_usage(deep=True).sum()) / len(table),
    }


def packing() -> dict[str, float]:
    """Seconds a crop of packing, with the contexts, in one process."""
    rows = read_rows(DATA / f"splits/{SPLITS[0]}.csv", SplitRow)[:PACKED_CROPS]
    with tempfile.TemporaryDirectory() as folder:
        split = Path(folder) / "split.csv"
        write_rows(split, rows, SplitRow)
        seconds = _processor_s(partial(pack, split, Path(folder) / "split.zarr", 256))
    return {"s_per_crop": seconds / len(rows)}


def dvc() -> dict[str, float]:
    """Seconds a file of `dvc add` and of a `dvc status` that finds nothing changed."""
    pictures = sorted((DATA / "crops").rglob("*.png"))[:DVC_FILES]
    few, many = _dvc_seconds(pictures[:1]), _dvc_seconds(pictures)
    more = len(pictures) - 1
    return {f"{name}_s_per_file": max(0.0, many[name] - few[name]) / more for name in many}


def picture() -> dict[str, Any]:
    """Parts of the time from a 1024-px JPEG to its verdict, as shares: reading it, finding faces.

    stills_of_mean: quantiles of the sample's stills from bytes to verdict, in units of their mean.
    """
    cv2.setNumThreads(usable_cores())
    detector, content = served(), encoded(photograph())
    rgb = decode_picture(io.BytesIO(content), MAX_PIXELS).rgb

    def judge(content: bytes) -> None:
        detector.judge_picture(decode_picture(io.BytesIO(content), MAX_PIXELS).rgb)

    works: dict[str, Callable[[], object]] = {
        "verdict": partial(judge, content),
        "decode": lambda: decode_picture(io.BytesIO(content), MAX_PIXELS),
        "detect": lambda: find_faces(
            detector.face_detector,
            rgb,
            min_score=detector.bundle.spec.face_finder.min_score,
            min_face_px=MIN_FOUND_PX,
            max_faces=detector.max_faces,
        ),
    }
    found = timed(works, ROUNDS)
    stills = [Path(row.path) for row in read_rows(MANIFESTS / "images.csv", InputRow)]
    each = timed({str(path): partial(judge, path.read_bytes()) for path in stills}, ROUNDS)
    taken_s = np.array([min(timing.wall_s) for timing in each.values()])
    return {
        "decode_of_verdict": times_longer(found["decode"], found["verdict"]).median,
        "detect_of_verdict": times_longer(found["detect"], found["verdict"]).median,
        "stills_of_mean": np.quantile(taken_s / taken_s.mean(), QUANTILES).tolist(),
    }


def _input_row(video: Path) -> InputRow:
    return InputRow(
        video_id=video.stem,
        source="scale",
        label=REAL,
        fake_type="real",
        is_inswapper=0,
        identity_id="somebody",
        path=str(video),
        sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
    )


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


def _processor_s(work: Callable[[], object]) -> float:
    return min(timed({"work": work}, rounds=3)["work"].cpu_s)


def _dvc_seconds(pictures: list[Path]) -> dict[str, float]:
    """Seconds of `dvc add` and `dvc status` on a folder with these files, start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "files").mkdir()
        for number, path in enumerate(pictures):
            shutil.copy(path, home / f"files/{number}.png")
        _dvc(home, "init", "--no-scm")
        return {"add": _dvc(home, "add", "files"), "status": _dvc(home, "status")}


def _dvc(home: Path, *command: str) -> float:
    """Processor seconds of the command."""
    started = processor_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command, "-q"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PipelineError(f"dvc {command[0]}: {done.stderr.strip()}")
    return processor_seconds() - started
