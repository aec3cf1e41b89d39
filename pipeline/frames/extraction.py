"""Extracting a few frames of every scene of the videos, losslessly (pipeline.media.frame_files).

A lossy format would add its own trace of compression to reals and fakes and hide theirs. Frames of
videos from earlier runs come from pipeline.runtime.cache.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import cv2

from pipeline.core.files import fitting_path
from pipeline.core.manifest import FrameRow, InputRow, Origin, SkipRow
from pipeline.frames.sampling import SceneFrame, frames_at, scene_frames
from pipeline.media.frame_files import SUFFIX, write_frame
from pipeline.media.images import write_webp
from pipeline.media.video import probe, read_frames
from pipeline.runtime.cache import StageCache, content_digest, open_cache, versions
from pipeline.runtime.code import code_digest
from pipeline.runtime.errors import DecodeError, SkipLimitError
from pipeline.runtime.sections import ExtractFramesParams
from pipeline.runtime.workers import worker_map

STAGE = "extract_frames"
# Largest relative difference of frame rates. Equal frame numbers of a fake and its original are the
# same moment only at the same frame rate.
SAME_FPS = 0.01

LIBRARIES = ("av", "numpy", "opencv-python", "opencv-python-headless", "scenedetect")

Picks = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Extraction:
    """Result of `extract_frames`.

    rows: rows of raw.csv, by video in the given order, then by frame. skipped: one row per skipped
    video. reused: number of videos whose frames came from the cache.
    """

    rows: list[FrameRow]
    skipped: list[SkipRow]
    reused: int = field(default=0, compare=False)


@dataclass(frozen=True)
class _Job:
    """One video to extract.

    original, picks: the original video and the (scene, frame index) pairs extracted from it.
    """

    video: InputRow
    folder: Path
    params: ExtractFramesParams
    cache: StageCache
    original: InputRow | None = None
    picks: Picks = ()

    @property
    def prefix(self) -> str:
        """Prefix of the paths of the video's frames."""
        return f"{(self.folder / fitting_path(self.video.video_id)).as_posix()}/"


@dataclass(frozen=True)
class _Outcome:
    """The rows of a video, or the row that explains why there are none."""

    video_id: str
    rows: list[FrameRow]
    skipped: SkipRow | None = None
    reused: bool = False


def extract_frames(
    videos: Sequence[InputRow],
    folder: Path,
    params: ExtractFramesParams,
    workers: int,
    cache_root: Path | None = None,
    ray_address: str = "",
) -> Extraction:
    """Write frames_per_scene frames of each scene to `folder`/<video_id>/<scene>_<frame>.mkv.

    A video_id that is too long for a path is shortened (pipeline.core.files.fitting_path). A fake
    whose original is among the videos is sampled at the same frames as the original; a paste mask
    is written next to its frame as .mask.webp. The result does not depend on `workers` (number of
    processes). A video that cannot be decoded or has no scene of sufficient length is skipped
    with a reason. cache_root: folder of the stage caches; None to decode every video again.
    ray_address: address of a Ray to use instead (pipeline.runtime.workers), on which a video that
    kills its worker on every attempt is skipped too.
    """
    cache = open_cache(cache_root, STAGE, _recipe(params))
    by_id = {video.video_id: video for video in videos}
    leaders = [video for video in videos if video.original_video_id not in by_id]
    followers = [video for video in videos if video.original_video_id in by_id]
    with worker_map(min(workers, len(videos)), ray_address, _worker_died) as run:
        done = _by_id(run(_extract_video, [_Job(v, folder, params, cache) for v in leaders]))
        jobs = []
        for video in followers:
            original = by_id[video.original_video_id]
            picks = _picks_of(done.get(original.video_id))
            jobs.append(_Job(video, folder, params, cache, original, picks))
        done |= _by_id(run(_extract_video, jobs))
    cache.prune()
    outcomes = [done[video.video_id] for video in videos]
    return Extraction(
        rows=[row for outcome in outcomes for row in outcome.rows],
        skipped=[outcome.skipped for outcome in outcomes if outcome.skipped],
        reused=sum(outcome.reused for outcome in outcomes),
    )


def require_few_skipped(
    skipped: Sequence[SkipRow], total: int, max_skip_frac: float, listed_in: Path
) -> None:
    """Raise SkipLimitError when more than max_skip_frac of `total` videos were skipped.

    listed_in: file with the skipped videos, for the message.
    """
    if len(skipped) > max_skip_frac * total:
        raise SkipLimitError(
            f"{STAGE}: {len(skipped)} of {total} videos were skipped, above"
            f" extract_frames.max_skip_frac {max_skip_frac:g}; {listed_in} lists them, the first:"
            f" {skipped[0]}"
        )


def _recipe(params: ExtractFramesParams) -> dict[str, Any]:
    """Everything that the frames of all videos depend on, for the cache key."""
    return {
        "params": params.model_dump(exclude={"max_skip_frac"}),
        "code": code_digest(STAGE),
        "libraries": versions(LIBRARIES) | av.library_versions,
        "processor": cv2.getCPUFeaturesLine(),
    }


def _by_id(outcomes: Iterable[_Outcome]) -> dict[str, _Outcome]:
    return {outcome.video_id: outcome for outcome in outcomes}


def _picks_of(outcome: _Outcome | None) -> Picks:
    return tuple((row.scene, row.frame_index) for row in outcome.rows) if outcome else ()


def _extract_video(job: _Job) -> _Outcome:
    """Write a video's frames, restored from the cache if possible."""
    video = job.video
    try:
        given = _original_picks(job)
        key = job.cache.key(content_digest(video.path), content_digest(video.mask_path), given)
        if cached := job.cache.restore(key, job.prefix):
            return _Outcome(video.video_id, _rows(job, cached), reused=True)
        frames = _write_frames(job, given)
    except DecodeError as error:
        return _skip(video, "decode_error", str(error))
    if not frames:
        wanted = f"frame {given[0][1]}" if given else f"scene of {job.params.min_scene_s:g} s"
        return _skip(video, "too_short", f"has no {wanted}")
    job.cache.store(key, job.prefix, _names(frames), frames)
    return _Outcome(video.video_id, _rows(job, frames))


def _original_picks(job: _Job) -> Picks:
    """(scene, frame index) pairs of the original, empty if its frame rate differs."""
    if job.original is None or not job.picks:
        return ()
    fps, original_fps = (probe(Path(video.path)).fps for video in (job.video, job.original))
    return job.picks if abs(fps - original_fps) <= SAME_FPS * original_fps else ()


def _frames(job: _Job, given: Picks) -> Iterator[SceneFrame]:
    """Frames at the given picks of the original, or sampled from the video's own scenes."""
    path, params = Path(job.video.path), job.params
    if not given:
        yield from scene_frames(
            path, params.scene_threshold, params.min_scene_s, params.frames_per_scene
        )
        return
    yield from frames_at(path, {index: scene for scene, index in given})


def _write_frames(job: _Job, given: Picks) -> list[dict[str, Any]]:
    """Write the frames; return their columns of raw.csv, with file names as paths.

    Removes the written files on a DecodeError.
    """
    frames: list[dict[str, Any]] = []
    shapes: list[tuple[int, ...]] = []
    try:
        for sampled in _frames(job, given):
            columns = _columns(sampled)
            rgb = write_frame(Path(f"{job.prefix}{columns['frame_path']}"), sampled.frame)
            frames.append(columns)
            shapes.append(rgb.shape[:2])
        if job.video.mask_path and frames:
            _write_masks(job, frames, shapes)
    except DecodeError:
        for name in _names(frames):
            Path(f"{job.prefix}{name}").unlink()
        raise
    return frames


def _columns(sampled: SceneFrame) -> dict[str, Any]:
    """Columns of raw.csv for a frame without a mask."""
    frame = sampled.frame
    return {
        "frame_path": f"{sampled.scene:03d}_{frame.index:06d}{SUFFIX}",
        "mask_path": "",
        "scene": sampled.scene,
        "frame_index": frame.index,
        "timestamp_s": frame.timestamp_s,
    }


def _write_masks(
    job: _Job, frames: Sequence[dict[str, Any]], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Write each frame's mask next to it. Raises DecodeError when the masks do not fit."""
    path = Path(job.video.mask_path)
    wanted = [frame["frame_index"] for frame in frames]
    aspect = _mask_aspect(job, shapes[0])
    masks = read_frames(path, wanted, pixel_format="gray", pixel_aspect=aspect)
    for frame, shape in zip(frames, shapes, strict=True):
        index, _, mask = next(masks, (None, 0.0, None))
        if mask is None:
            raise DecodeError(f"{path}: has fewer frames than {job.video.path}")
        if mask.shape != shape:
            raise DecodeError(
                f"{path}: frame {index} of {mask.shape} does not fit the video's frame {index} of"
                f" {shape}"
            )
        name = frame["frame_path"].removesuffix(SUFFIX) + ".mask.webp"
        write_webp(f"{job.prefix}{name}", mask)
        frame["mask_path"] = name


def _mask_aspect(job: _Job, shape: tuple[int, ...]) -> Fraction | None:
    """Pixel aspect to read the masks with; None for their own.

    A mask usually declares no aspect: it may have been drawn on the stored or on the displayed
    frames of its video.
    """
    mask = probe(Path(job.video.mask_path))
    fits = (mask.height_px, mask.width_px) == shape
    return None if fits else probe(Path(job.video.path)).pixel_aspect


def _names(frames: Sequence[dict[str, Any]]) -> list[str]:
    """File names of the frames and of their masks."""
    return [name for frame in frames for name in (frame["frame_path"], frame["mask_path"]) if name]


def _rows(job: _Job, frames: Sequence[dict[str, Any]]) -> list[FrameRow]:
    origin = {name: getattr(job.video, name) for name in Origin.model_fields}
    paths = ("frame_path", "mask_path")
    return [
        FrameRow(**origin, **frame | {p: job.prefix + frame[p] for p in paths if frame[p]})
        for frame in frames
    ]


def _worker_died(job: _Job) -> _Outcome:
    for path in Path(job.prefix).glob("*.*"):
        path.unlink()
    return _skip(job.video, "worker_died", "every worker process on it died")


def _skip(
    video: InputRow, reason: Literal["decode_error", "too_short", "worker_died"], detail: str
) -> _Outcome:
    """Outcome of a skipped video. It is not cached, because the detail contains the file's path."""
    row = SkipRow(
        path=video.path, video_id=video.video_id, stage=STAGE, reason=reason, detail=detail
    )
    return _Outcome(video.video_id, [], row)
