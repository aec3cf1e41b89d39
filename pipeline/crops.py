"""From frames and stills to face crops with their labels.

A face gives square crops at several scales, as the network sees them, and one context crop at the
frame's resolution, from which training makes swaps and crops of its own. PNG throughout: a lossy
file would add a compression trace that the detector could learn instead of the swap.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import DecodeError, ManifestError, ParamsError, SkipLimitError
from pipeline.faces.detector import Face, FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.labels import FAKE, REAL
from pipeline.manifest import CropRow, FrameRow, InputRow, Origin, SkipRow
from pipeline.params import CropFacesParams
from pipeline.preprocess import FloatArray, ImageU8, Preprocess
from pipeline.quality import (
    QualityMeasures,
    QualityThresholds,
    fit_quality,
    measure_quality,
    quality_label,
)
from pipeline.seam import boundary_label, difference_alpha

STAGE = "crop_faces"
PNG_LEVEL = 1
# A fake may show bystanders: only faces whose middle is pasted over to this share are swapped ones.
MIN_PASTED = 0.25
CANDIDATES = 16
# Containers round the times of the same frame differently, by less than this.
SAME_MOMENT_S = 0.01
# 16-bit and floating-point pictures would be clipped silently.
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclass(frozen=True)
class CropJob:
    """What every worker needs. folder: where the crops go, relative to the repository's root."""

    params: CropFacesParams
    preprocess: Preprocess
    folder: Path


@dataclass(frozen=True)
class FoundFace:
    """One face before its quality is judged: columns that its crops share, and one dict a crop."""

    shared: dict[str, Any]
    crops: list[dict[str, Any]]
    measures: QualityMeasures


@dataclass(frozen=True)
class CropResult:
    """rows: crops.csv, skipped: skipped_faces.csv, both in the order of the frames."""

    rows: list[CropRow]
    skipped: list[SkipRow]
    thresholds: QualityThresholds
    frames: int


def stills_as_frames(stills: Iterable[InputRow]) -> list[FrameRow]:
    """A still picture is a video of one frame."""
    return [
        FrameRow(
            **{name: getattr(still, name) for name in Origin.model_fields},
            frame_path=still.path,
            mask_path=still.mask_path,
            scene=0,
            frame_index=0,
            timestamp_s=0.0,
        )
        for still in stills
    ]


def crop_frames(frames: Sequence[FrameRow], job: CropJob, workers: int) -> CropResult:
    """Find, cut and label the faces of all frames; the PNG files are written below job.folder.

    The result and the files do not depend on `workers` (processes, >= 1).
    Raises ManifestError when two frames share video and index or when no real face is found, on
    which the quality thresholds are fitted; ParamsError when the context crop would not hold the
    largest crop; DetectorError when the detector cannot be loaded.
    """
    _require_context(job)
    _require_distinct(frames)
    by_place = {(row.video_id, row.frame_index): row for row in frames}
    videos = [list(group) for _, group in groupby(frames, key=lambda row: row.video_id)]
    tasks = [[(row, _twin(row, by_place)) for row in video] for video in videos]
    done = _map(partial(_crop_video, job), tasks, workers)
    outcomes = [outcome for video in done for outcome in video]
    faces = [face for outcome in outcomes if isinstance(outcome, list) for face in outcome]
    thresholds = _fitted(faces, job.params)
    return CropResult(
        rows=[row for face in faces for row in _rows(face, thresholds)],
        skipped=[outcome for outcome in outcomes if isinstance(outcome, SkipRow)],
        thresholds=thresholds,
        frames=len(frames),
    )


def require_few_skipped(result: CropResult, max_skip_frac: float) -> None:
    """Raise SkipLimitError, with the reasons, when too many frames were skipped."""
    skipped = len(result.skipped)
    if skipped <= max_skip_frac * result.frames:
        return
    raise SkipLimitError(
        f"{STAGE}: {skipped} of {result.frames} frames were skipped ({reasons(result)}), above"
        f" crop_faces.max_skip_frac {max_skip_frac:g}; first: {result.skipped[0].path}"
    )


def reasons(result: CropResult) -> str:
    """Reason codes and their numbers, as `no_face 3, decode_error 1`, or `none`."""
    counts = Counter(row.reason for row in result.skipped)
    return ", ".join(f"{reason} {number}" for reason, number in counts.most_common()) or "none"


def read_picture(path: Path) -> ImageU8:
    """A picture file as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises DecodeError for anything but an 8-bit picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise DecodeError(f"{path}: mode {image.mode}; expected 8 bits a channel")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except DecodeError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DecodeError(f"{path}: not a readable picture ({type(error).__name__})") from error


def read_mask(path: Path, shape_hw: tuple[int, int]) -> ImageU8:
    """A paste mask as (H, W) uint8; DecodeError unless it has the picture's size."""
    try:
        with Image.open(path) as image:
            mask: ImageU8 = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DecodeError(f"{path}: not a readable mask ({type(error).__name__})") from error
    if mask.shape != shape_hw:
        raise DecodeError(f"{path}: mask of {mask.shape}, expected {shape_hw} as its picture has")
    return mask


Outcome = list[FoundFace] | SkipRow
Task = Sequence[tuple[FrameRow, FrameRow | None]]


@dataclass(frozen=True)
class _Scene:
    """A frame's pixels. alpha: (H, W) paste mask in [0, 1], original: the frame before the swap."""

    rgb: ImageU8
    mask: ImageU8 | None
    original: ImageU8 | None

    @property
    def alpha(self) -> FloatArray | None:
        return None if self.mask is None else self.mask.astype(np.float32) / np.float32(255)


def _crop_video(job: CropJob, video: Task) -> list[Outcome]:
    return [_crop_frame(job, frame, original) for frame, original in video]


def _crop_frame(job: CropJob, frame: FrameRow, original: FrameRow | None) -> Outcome:
    """The faces of one frame, largest first, their files written; or why there are none."""
    try:
        scene = _read_scene(frame, original)
    except DecodeError as error:
        return _skip(frame, "decode_error", str(error))
    params = job.params
    detector = _detector(params.detector, params.pack, params.model_file, params.min_score)
    find = partial(find_faces, detector, scene.rgb, min_score=params.min_score)
    wanted = params.max_faces if frame.label == REAL else max(params.max_faces, CANDIDATES)
    faces = find(min_face_px=params.min_face_px, max_faces=wanted)
    if not faces:
        smaller = find(min_face_px=1, max_faces=1)
        return _skip_size(frame, params.min_face_px, smaller)
    chosen = _swapped(faces, scene) if frame.label == FAKE else faces
    if not chosen:
        return _skip(frame, "no_face", f"faces: {len(faces)}, none of them under the paste mask")
    names = [f"{_folder(frame)}_{number}" for number in range(params.max_faces)]
    return [
        _cut_face(job, frame, scene, _as_written(face), name, detector.name)
        for name, face in zip(names, chosen, strict=False)
    ]


def _read_scene(frame: FrameRow, original: FrameRow | None) -> _Scene:
    rgb = read_picture(Path(frame.frame_path))
    mask = read_mask(Path(frame.mask_path), rgb.shape[:2]) if frame.mask_path else None
    twin = read_picture(Path(original.frame_path)) if original else None
    return _Scene(rgb, mask, twin if twin is not None and twin.shape == rgb.shape else None)


@cache
def _detector(name: str, pack: str, model_file: str, min_score: float) -> FaceDetector:
    """One detector a process, with one thread, so that workers do not fight for cores."""
    return load_detector(name, pack=pack, model_file=model_file, min_score=min_score, threads=1)


def _swapped(faces: list[Face], scene: _Scene) -> list[Face]:
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


def _cut_face(
    job: CropJob, frame: FrameRow, scene: _Scene, face: Face, name: str, detector: str
) -> FoundFace:
    """Write a face's files, `name` with suffixes, and collect what its rows say."""
    context = _cut_context(job, scene, face)
    context_path = _write_png(job.folder / f"{name}_context.png", context.rgb)
    mask_path = ""
    if context.mask is not None:
        mask_path = _write_png(job.folder / f"{name}_mask.png", context.mask)
    measures = _as_written_measures(measure_quality(scene.rgb, face.box_xyxy))
    shared = {
        **{column: getattr(frame, column) for column in Origin.model_fields},
        **{column: getattr(frame, column) for column in ("scene", "frame_index", "timestamp_s")},
        **asdict(measures),
        **_face_columns(face),
        "face_id": name,
        "context_path": context_path,
        "mask_path": mask_path,
        "context_x": context.x,
        "context_y": context.y,
        "context_scale": context.scale,
        "detector": detector,
    }
    crops = [_cut_crop(job, frame, scene, face, name, scale) for scale in job.preprocess.scales]
    return FoundFace(shared, crops, measures)


def _cut_crop(
    job: CropJob, frame: FrameRow, scene: _Scene, face: Face, name: str, scale: float
) -> dict[str, Any]:
    crop = job.preprocess.crop(scene.rgb, face.box_xyxy, scale)
    boundary, boundary_source = boundary_label(
        scene.rgb,
        job.preprocess.square(face.box_xyxy, scale),
        label=frame.label,
        is_inswapper=frame.is_inswapper,
        alpha=scene.alpha,
        real_rgb=scene.original,
        keypoints=face.keypoints,
        min_seam_frac=job.params.boundary_min_seam_frac,
        min_sigma=job.params.boundary_min_sigma,
    )
    return {
        "crop_scale": scale,
        "image_path": _write_png(job.folder / f"{name}_{round(100 * scale)}.png", crop),
        "boundary_label": boundary,
        "boundary_source": boundary_source,
    }


@dataclass(frozen=True)
class _Context:
    rgb: ImageU8
    mask: ImageU8 | None
    x: int
    y: int
    scale: float


def _cut_context(job: CropJob, scene: _Scene, face: Face) -> _Context:
    """The square around the face as far as the picture reaches, made smaller only if too large."""
    left, top, side = job.preprocess.square(face.box_xyxy, job.params.context_scale)
    height, width = scene.rgb.shape[:2]
    x, y = max(0, left), max(0, top)
    region = np.s_[y : min(height, top + side), x : min(width, left + side)]
    rgb = scene.rgb[region]
    scale = _six_digits(min(1.0, job.params.context_max_px / max(rgb.shape[:2])))
    mask = None if scene.mask is None else _shrunk(scene.mask[region], scale)
    return _Context(_shrunk(rgb, scale), mask, x, y, scale)


def _shrunk(pixels: ImageU8, scale: float) -> ImageU8:
    if scale == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write_png(path: Path, pixels: ImageU8) -> str:
    """Write (H, W) grey or (H, W, 3) RGB; returns the path as a manifest has it."""
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())
    return path.as_posix()


def _as_written(face: Face) -> Face:
    """The face as its row will say, so that reading the row back gives the very same squares.

    Quarter pixels of the box survive float32 and six digits alike.
    """
    box = np.round(4 * face.box_xyxy) / np.float32(4)
    points = None
    if face.keypoints is not None:
        rounded = [[_six_digits(value) for value in point] for point in face.keypoints]
        points = np.array(rounded, np.float32)
    return Face(box.astype(np.float32), points, _six_digits(face.score))


def _face_columns(face: Face) -> dict[str, float]:
    columns = dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), face.box_xyxy, strict=True))
    for number, (x, y) in enumerate([] if face.keypoints is None else face.keypoints):
        columns |= {f"kp{number}_x": x, f"kp{number}_y": y}
    columns["detector_score"] = face.score
    return {key: _six_digits(value) for key, value in columns.items()}


def _as_written_measures(measures: QualityMeasures) -> QualityMeasures:
    return QualityMeasures(**{key: _six_digits(v) for key, v in asdict(measures).items()})


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def _rows(face: FoundFace, thresholds: QualityThresholds) -> list[CropRow]:
    quality = quality_label(face.measures, thresholds)
    return [CropRow(**face.shared, **crop, quality_label=quality) for crop in face.crops]


def _fitted(faces: Sequence[FoundFace], params: CropFacesParams) -> QualityThresholds:
    reals = [face.measures for face in faces if face.shared["label"] == REAL]
    if not reals:
        raise ManifestError(
            f"{STAGE}: no face was found in a real frame; the quality thresholds are fitted on"
            f" real faces (faces found: {len(faces)}, all of them fake)"
        )
    return fit_quality(reals, params.quality_quantiles)


def _skip(
    frame: FrameRow, reason: Literal["decode_error", "no_face", "face_too_small"], detail: str = ""
) -> SkipRow:
    return SkipRow(
        path=frame.frame_path, video_id=frame.video_id, stage=STAGE, reason=reason, detail=detail
    )


def _skip_size(frame: FrameRow, min_face_px: int, smaller: list[Face]) -> SkipRow:
    if not smaller:
        return _skip(frame, "no_face")
    detail = f"largest {smaller[0].size_px:.0f} px, min_face_px {min_face_px}"
    return _skip(frame, "face_too_small", detail)


def _folder(frame: FrameRow) -> str:
    """Path of a frame's files below the crops' folder, without suffix; safe for any video_id."""
    safe = re.sub(r"[^\w./-]", "_", frame.video_id)
    safe = "/".join(part.lstrip(".") or "_" for part in safe.split("/"))
    if safe != frame.video_id:
        safe += "-" + hashlib.sha256(frame.video_id.encode()).hexdigest()[:8]
    return f"{safe}/{frame.scene:03d}_{frame.frame_index:06d}"


def _twin(frame: FrameRow, by_place: dict[tuple[str, int], FrameRow]) -> FrameRow | None:
    """The same moment of the original: a re-timed copy has the same index at another time."""
    twin = by_place.get((frame.original_video_id, frame.frame_index))
    if twin is None or abs(twin.timestamp_s - frame.timestamp_s) > SAME_MOMENT_S:
        return None
    return twin


def _require_context(job: CropJob) -> None:
    largest = max(job.preprocess.scales)
    if job.params.context_scale < largest:
        raise ParamsError(
            f"crop_faces.context_scale: {job.params.context_scale:g} is below the largest of"
            f" preprocess.scales, {largest:g}; the context crop must hold every crop"
        )


def _require_distinct(frames: Sequence[FrameRow]) -> None:
    places = Counter((row.video_id, row.frame_index) for row in frames)
    faults = [
        f"{STAGE}: video_id {video!r}, frame {index}: {number} rows; expected one"
        for (video, index), number in sorted(places.items())
        if number > 1
    ]
    if faults:
        raise ManifestError("\n".join(faults))


def _map(
    function: Callable[[Task], list[Outcome]], tasks: Sequence[Task], workers: int
) -> list[list[Outcome]]:
    """Apply a function to all tasks, in order, in as many processes as asked for."""
    if min(workers, len(tasks)) <= 1:
        return [function(task) for task in tasks]
    # Forking a process that holds ONNX Runtime's or OpenCV's threads can hang it.
    with ProcessPoolExecutor(
        min(workers, len(tasks)), get_context("spawn"), cv2.setNumThreads, (1,)
    ) as pool:
        return list(pool.map(function, tasks))
