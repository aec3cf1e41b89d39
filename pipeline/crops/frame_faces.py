"""Crops, context crop and measurements of the faces in one frame.

The results do not depend on names or identities, so the same image gives the same crops under any
name.
"""

import functools
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.files import six_digits
from pipeline.core.labels import FAKE, REAL, UNKNOWN, BoundarySource
from pipeline.core.manifest import FrameRow
from pipeline.crops.agreement import frames_agree
from pipeline.faces.detector import Face, FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.media.images import read_image, read_mask, write_webp
from pipeline.runtime.sections import CropFacesParams
from pipeline.views.boundary import best_mask, difference_alpha, visible_boundary
from pipeline.views.preprocess import Preprocess
from pipeline.views.quality import QualityMeasures, measure_quality


@dataclass(frozen=True)
class LabelledFrame:
    """A frame's pixels, labels and known facts about its swap.

    rgb: (H, W, 3) uint8. label, is_inswapper: labels of the frame. mask: (H, W) uint8 paste mask.
    original: (H, W, 3) uint8 frame before the swap. Both are None if unknown. paired: as in
    CropRow. alpha: (H, W) float32 mask in [0, 1].
    """

    rgb: ImageU8
    label: int
    is_inswapper: int
    mask: ImageU8 | None = None
    original: ImageU8 | None = None
    paired: int = UNKNOWN

    @property
    def alpha(self) -> FloatArray | None:
        return None if self.mask is None else self.mask.astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class FoundFace:
    """One face without its quality label.

    shared: columns common to all its crops; paths are relative to the prefix of the frame's files.
    crops: the other columns except image_path, one dict per crop.
    """

    shared: dict[str, Any]
    crops: list[dict[str, Any]]

    @property
    def measures(self) -> QualityMeasures:
        return QualityMeasures(**{f.name: self.shared[f.name] for f in fields(QualityMeasures)})

    @property
    def names(self) -> list[str]:
        """File names of this face."""
        return [name for name in (self.shared["context_path"], self.shared["mask_path"]) if name]


@dataclass(frozen=True)
class _Context:
    """Context crop of a face: pixels, mask, offset in the frame and scale, as in `CropRow`."""

    rgb: ImageU8
    mask: ImageU8 | None
    x: int
    y: int
    scale: float


@dataclass(frozen=True)
class FaceCutter:
    """Cuts faces out of frames with fixed parameters."""

    params: CropFacesParams
    preprocess: Preprocess

    def cut(
        self, scene: LabelledFrame, face: Face, prefix: str, number: int, detector: str
    ) -> FoundFace:
        """Write a face's files, named `prefix` + `number` + suffix; return its columns."""
        face = _as_written(face)
        alpha, source = self._paste(scene, face)
        measured = source in ("exact", "paired")
        context = self._context(scene, face, alpha if measured else None)
        names = {"context_path": f"{number}_context.webp", "mask_path": ""}
        write_webp(f"{prefix}{names['context_path']}", context.rgb)
        if context.mask is not None:
            names["mask_path"] = f"{number}_mask.webp"
            write_webp(f"{prefix}{names['mask_path']}", context.mask)
        shared = {
            **_measure_columns(measure_quality(scene.rgb, face.box_xyxy)),
            **_face_columns(face),
            **names,
            "context_x": context.x,
            "context_y": context.y,
            "context_scale": context.scale,
            "detector": detector,
            "paired": scene.paired,
            "boundary_source": source,
        }
        crops = [self._crop(scene, face, alpha, scale) for scale in self.preprocess.scales]
        return FoundFace(shared, crops)

    def _paste(self, scene: LabelledFrame, face: Face) -> tuple[FloatArray | None, BoundarySource]:
        """Paste mask of the frame, the best that is known, and where it comes from."""
        if scene.label == REAL:
            return scene.alpha, "exact"
        keypoints = face.keypoints if scene.is_inswapper else None
        return best_mask(scene.rgb, scene.alpha, scene.original, keypoints)

    def _crop(
        self, scene: LabelledFrame, face: Face, alpha: FloatArray | None, scale: float
    ) -> dict[str, Any]:
        boundary = REAL
        if scene.label == FAKE:
            boundary = visible_boundary(
                scene.rgb,
                self.preprocess.square(face.box_xyxy, scale),
                alpha,
                scene.original,
                min_seam_frac=self.params.boundary_min_seam_frac,
                min_sigma=self.params.boundary_min_sigma,
            )
        return {"crop_scale": scale, "boundary_label": boundary}

    def _context(self, scene: LabelledFrame, face: Face, alpha: FloatArray | None) -> _Context:
        """The square around the face within the image, shrunk only if above context_max_px."""
        left, top, side = self.preprocess.square(face.box_xyxy, self.params.context_scale)
        height, width = scene.rgb.shape[:2]
        x, y = max(0, left), max(0, top)
        region = np.s_[y : min(height, top + side), x : min(width, left + side)]
        rgb = scene.rgb[region]
        scale = six_digits(min(1.0, self.params.context_max_px / max(rgb.shape[:2])))
        mask = None
        if alpha is not None:
            mask = _shrunk(np.asarray(255 * alpha[region] + 0.5, np.uint8), scale)
        return _Context(_shrunk(rgb, scale), mask, x, y, scale)


def _shrunk(pixels: ImageU8, scale: float) -> ImageU8:
    if scale == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _as_written(face: Face) -> Face:
    """The face rounded as its row is written, so that reading the row gives the same squares.

    The box is rounded to quarter pixels, which both float32 and six digits represent exactly.
    """
    box = np.round(4 * face.box_xyxy) / np.float32(4)
    points = None
    if face.keypoints is not None:
        rounded = [[six_digits(value) for value in point] for point in face.keypoints]
        points = np.array(rounded, np.float32)
    return Face(box.astype(np.float32), points, six_digits(face.score))


def _face_columns(face: Face) -> dict[str, float]:
    columns = dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), face.box_xyxy, strict=True))
    for number, (x, y) in enumerate([] if face.keypoints is None else face.keypoints):
        columns |= {f"kp{number}_x": x, f"kp{number}_y": y}
    columns["detector_score"] = face.score
    return {key: six_digits(value) for key, value in columns.items()}


def _measure_columns(measures: QualityMeasures) -> dict[str, float]:
    return {key: six_digits(value) for key, value in asdict(measures).items()}


# A fake may show bystanders: a face counts as swapped if this fraction of its middle is pasted.
MIN_PASTED = 0.25
CANDIDATES = 16
SkipReason = Literal["decode_error", "no_face", "face_too_small", "worker_died"]


@dataclass(frozen=True)
class FrameFaces:
    """The faces of a frame, largest first. skip: reason and detail if there are none."""

    faces: list[FoundFace]
    skip: tuple[SkipReason, str] | None = None


def cut_faces(
    params: CropFacesParams, preprocess: Preprocess, scene: LabelledFrame, prefix: str
) -> FrameFaces:
    """Find the faces, select the swapped ones of a fake, and write their files.

    prefix: start of the paths of all files. Raises DetectorError when the detector cannot be
    loaded.
    """
    detector = _detector(params.detector, params.pack, params.model_file, params.min_score)
    find = partial(find_faces, detector, scene.rgb, min_score=params.min_score)
    wanted = params.max_faces if scene.label == REAL else max(params.max_faces, CANDIDATES)
    faces = find(min_face_px=params.min_face_px, max_faces=wanted)
    if not faces:
        return FrameFaces([], _why_none(params.min_face_px, find(min_face_px=1, max_faces=1)))
    scene = _without_other_original(scene, faces)
    chosen = _swapped(faces, scene) if scene.label == FAKE else faces
    if not chosen:
        detail = f"faces: {len(faces)}, none under the paste mask"
        return FrameFaces([], ("no_face", detail))
    cutter = FaceCutter(params, preprocess)
    return FrameFaces(
        [
            cutter.cut(scene, face, prefix, number, detector.name)
            for number, face in enumerate(chosen[: params.max_faces])
        ]
    )


def read_frame(frame: FrameRow, original: FrameRow | None) -> LabelledFrame:
    """Read a frame, its mask and its original; an original of another size is not its pair.

    Raises DecodeError when a file cannot be read.
    """
    rgb = read_image(Path(frame.frame_path))
    mask = read_mask(Path(frame.mask_path), rgb.shape[:2]) if frame.mask_path else None
    labelled = LabelledFrame(rgb, frame.label, frame.is_inswapper, mask)
    if original is None or frame.label == REAL:
        return labelled
    unswapped = read_image(Path(original.frame_path))
    if unswapped.shape != rgb.shape:
        return replace(labelled, paired=0)
    return replace(labelled, original=unswapped, paired=1)


def _without_other_original(scene: LabelledFrame, faces: list[Face]) -> LabelledFrame:
    """The frame without its original if that does not show the same outside the faces."""
    if scene.original is None:
        return scene
    boxes = [face.box_xyxy for face in faces]
    if frames_agree(scene.rgb, scene.original, boxes, scene.alpha):
        return scene
    return replace(scene, original=None, paired=0)


@functools.cache
def _detector(name: str, pack: str, model_file: str, min_score: float) -> FaceDetector:
    """One single-threaded detector per process, so that workers do not compete for cores."""
    return load_detector(name, pack=pack, model_file=model_file, min_score=min_score, threads=1)


def _swapped(faces: list[Face], scene: LabelledFrame) -> list[Face]:
    """Swapped faces of a fake, by its mask or its original; all faces if neither is known."""
    if (alpha := scene.alpha) is not None:
        return [face for face in faces if _is_pasted(face, alpha)]
    if scene.original is None:
        return faces
    changed = difference_alpha(scene.rgb, scene.original)
    # The mask estimated from the difference may be wrong: it may select faces, but if it would
    # reject all of them, all are returned.
    return [face for face in faces if _is_pasted(face, changed)] or faces


def _is_pasted(face: Face, alpha: FloatArray) -> bool:
    """Whether the middle of the face, half as wide and high as its box, lies under the paste."""
    x0, y0, x1, y1 = face.box_xyxy
    rows = slice(max(0, round(float(3 * y0 + y1) / 4)), max(0, round(float(y0 + 3 * y1) / 4)))
    columns = slice(max(0, round(float(3 * x0 + x1) / 4)), max(0, round(float(x0 + 3 * x1) / 4)))
    middle = alpha[rows, columns]
    return bool(middle.size) and float(middle.mean()) >= MIN_PASTED


def _why_none(min_face_px: int, smaller: list[Face]) -> tuple[SkipReason, str]:
    if not smaller:
        return "no_face", ""
    return "face_too_small", f"largest {smaller[0].size_px:.0f} px, min_face_px {min_face_px}"
