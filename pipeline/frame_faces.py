"""The faces of one frame: found, chosen by what was pasted, and cut."""

import functools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pipeline.cuts import FaceCutter, FoundFace, Scene
from pipeline.faces.detector import Face, FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.labels import FAKE, REAL
from pipeline.manifest import FrameRow
from pipeline.param_sections import CropFacesParams
from pipeline.picture_files import read_mask, read_picture
from pipeline.preprocess import FloatArray, Preprocess
from pipeline.seam import difference_alpha

# A fake may show bystanders: only faces whose middle is pasted over to this share are swapped ones.
MIN_PASTED = 0.25
CANDIDATES = 16
SkipReason = Literal["decode_error", "no_face", "face_too_small", "worker_died"]


@dataclass(frozen=True)
class FrameFaces:
    """The faces of a frame, largest first, or why there are none. skip: reason and detail."""

    faces: list[FoundFace]
    skip: tuple[SkipReason, str] | None = None


def cut_scene(
    params: CropFacesParams, preprocess: Preprocess, scene: Scene, prefix: str
) -> FrameFaces:
    """Find the faces, choose the swapped ones of a fake, and write their files.

    prefix: what the paths of the files begin with. Raises DetectorError.
    """
    detector = _detector(params.detector, params.pack, params.model_file, params.min_score)
    find = partial(find_faces, detector, scene.rgb, min_score=params.min_score)
    wanted = params.max_faces if scene.label == REAL else max(params.max_faces, CANDIDATES)
    faces = find(min_face_px=params.min_face_px, max_faces=wanted)
    if not faces:
        return FrameFaces([], _why_none(params.min_face_px, find(min_face_px=1, max_faces=1)))
    chosen = _swapped(faces, scene) if scene.label == FAKE else faces
    if not chosen:
        detail = f"faces: {len(faces)}, none of them under the paste mask"
        return FrameFaces([], ("no_face", detail))
    cutter = FaceCutter(params, preprocess)
    return FrameFaces(
        [
            cutter.cut(scene, face, prefix, number, detector.name)
            for number, face in enumerate(chosen[: params.max_faces])
        ]
    )


def read_scene(frame: FrameRow, original: FrameRow | None) -> Scene:
    """A frame, its mask and its original from their files. Raises DecodeError."""
    rgb = read_picture(Path(frame.frame_path))
    mask = read_mask(Path(frame.mask_path), rgb.shape[:2]) if frame.mask_path else None
    twin = read_picture(Path(original.frame_path)) if original else None
    comparable = twin if twin is not None and twin.shape == rgb.shape else None
    return Scene(rgb, frame.label, frame.is_inswapper, mask, comparable)


@functools.cache
def _detector(name: str, pack: str, model_file: str, min_score: float) -> FaceDetector:
    """One detector a process, with one thread, so that workers do not fight for cores."""
    return load_detector(name, pack=pack, model_file=model_file, min_score=min_score, threads=1)


def _swapped(faces: list[Face], scene: Scene) -> list[Face]:
    """The faces of a fake that were swapped, as far as the mask or the original tells."""
    if (alpha := scene.alpha) is not None:
        return [face for face in faces if _is_pasted(face, alpha)]
    if scene.original is None:
        return faces
    changed = difference_alpha(scene.rgb, scene.original)
    # A guess from the difference may be wrong; it may choose a face, but not empty a frame.
    return [face for face in faces if _is_pasted(face, changed)] or faces


def _is_pasted(face: Face, alpha: FloatArray) -> bool:
    """Whether the middle of the face, half as wide and high as its box, is pasted over."""
    x0, y0, x1, y1 = face.box_xyxy
    rows = slice(max(0, round(float(3 * y0 + y1) / 4)), max(0, round(float(y0 + 3 * y1) / 4)))
    columns = slice(max(0, round(float(3 * x0 + x1) / 4)), max(0, round(float(x0 + 3 * x1) / 4)))
    middle = alpha[rows, columns]
    return bool(middle.size) and float(middle.mean()) >= MIN_PASTED


def _why_none(min_face_px: int, smaller: list[Face]) -> tuple[SkipReason, str]:
    if not smaller:
        return "no_face", ""
    return "face_too_small", f"largest {smaller[0].size_px:.0f} px, min_face_px {min_face_px}"
