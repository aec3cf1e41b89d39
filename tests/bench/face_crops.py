"""Benchmark of face detection and cropping against insightface as usually called."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from loky import cpu_count

from pipeline.core.arrays import ImageU8
from pipeline.faces.detector import find_faces
from pipeline.faces.load import load_detector
from pipeline.runtime.params import load_params
from pipeline.views.preprocess import Preprocess
from tests.bench.clips import FPS, SCENE_S, frames
from tests.bench.options import Options
from tests.bench.rows import Goal, Row, faster, skipped
from tests.bench.timing import timed

WORK = "face detection and crops, 720p frame"
WIDTH, HEIGHT = 1280, 720
FRAMES = 10
DET_SIZE = (640, 640)


def rows(options: Options) -> list[Row]:
    """Raises DetectorError or PackageError."""
    pack = options.insightface_pack
    if pack is None or not any(pack.glob("*.onnx")):
        return [skipped(WORK, "no pack of insightface models (--insightface-pack FOLDER)")]
    images = faces_in_frames()
    cv2.setNumThreads(cpu_count())
    find, analysis = our_faces(), face_analysis(pack)
    works = {
        "ours": lambda: [find(rgb) for rgb in images],
        "theirs": lambda: [analysis.get(rgb[:, :, ::-1]) for rgb in images],
    }
    found = timed(works, options.rounds)
    models = ", ".join(sorted(path.name for path in pack.glob("*.onnx")))
    against = f"FaceAnalysis with all models at 640 ({models})"
    return [faster(WORK, against, found["ours"], found["theirs"], FRAMES, "frames/s", Goal(2))]


def faces_in_frames() -> list[ImageU8]:
    """Frames of the first scene, each with the same person."""
    scene = list(frames(WIDTH, HEIGHT, SCENE_S * FPS))
    return scene[:: len(scene) // FRAMES][:FRAMES]


def our_faces() -> Callable[[ImageU8], int]:
    """A function that processes a frame as stage crop_faces does, on all cores.

    It returns the number of faces.
    """
    params = load_params()
    wanted, preprocess = params.crop_faces, Preprocess.from_params(params.preprocess)
    detector = load_detector(wanted.detector, pack=wanted.pack, threads=cpu_count())

    def find(rgb: ImageU8) -> int:
        faces = find_faces(
            detector,
            rgb,
            min_score=wanted.min_score,
            min_face_px=wanted.min_face_px,
            max_faces=wanted.max_faces,
        )
        for face in faces:
            for scale in (*preprocess.scales, wanted.context_scale):
                preprocess.crop(rgb, face.box_xyxy, scale)
        return len(faces)

    return find


def face_analysis(pack: Path) -> Any:
    """FaceAnalysis with all models of a folder, loaded as in insightface's examples."""
    from insightface.app import FaceAnalysis

    with contextlib.redirect_stdout(io.StringIO()):
        analysis = FaceAnalysis(name=str(pack.resolve()), providers=["CPUExecutionProvider"])
        analysis.prepare(ctx_id=0, det_size=DET_SIZE)
    return analysis
