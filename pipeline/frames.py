"""From videos to the frames that are worked on: a few of every scene, as PNG.

PNG, because the detector looks for traces of resampling and compression: a JPEG would add a trace
of its own, to reals and fakes alike, and hide theirs. Level 1, because it is by far the fastest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import cv2

from pipeline.errors import DecodeError, SkipLimitError
from pipeline.manifest import FrameRow, InputRow, Origin, SkipRow
from pipeline.params import ExtractFramesParams
from pipeline.scenes import detect_scenes, sample_indices
from pipeline.video import ImageU8, probe, read_frames

STAGE = "extract_frames"
PNG_LEVEL = 1
# Frame numbers of a fake and its original mean the same moment only at the same frame rate.
SAME_FPS = 0.01

Picks = tuple[tuple[int, int], ...]
Outcome = list[FrameRow] | SkipRow


@dataclass(frozen=True)
class Extraction:
    """rows: raw.csv, by video in the order given, then by frame. skipped: one row a bad video."""

    rows: list[FrameRow]
    skipped: list[SkipRow]


@dataclass(frozen=True)
class _Job:
    """original and picks: the original video and the (scene, frame index) pairs taken from it."""

    video: InputRow
    folder: Path
    params: ExtractFramesParams
    original: InputRow | None = None
    picks: Picks = ()


def extract_frames(
    videos: Sequence[InputRow], folder: Path, params: ExtractFramesParams, workers: int
) -> Extraction:
    """Write frames_per_scene frames of each scene to `folder`/<video_id>/<scene>_<frame>.png.

    A fake whose original is among the videos is sampled at the original's very frames; a paste mask
    is written beside its frame as .mask.png. The result does not depend on `workers` (processes).
    A video that cannot be decoded, or has no scene long enough, is skipped with a reason.
    """
    by_id = {video.video_id: video for video in videos}
    leaders = [video for video in videos if video.original_video_id not in by_id]
    followers = [video for video in videos if video.original_video_id in by_id]
    with _processes(min(workers, len(videos))) as run:
        done = dict(run(_extract_video, [_Job(video, folder, params) for video in leaders]))
        jobs = []
        for video in followers:
            original = by_id[video.original_video_id]
            picks = _picks_of(done.get(original.video_id))
            jobs.append(_Job(video, folder, params, original, picks))
        done |= dict(run(_extract_video, jobs))
    outcomes = [done[video.video_id] for video in videos]
    return Extraction(
        rows=[row for outcome in outcomes if isinstance(outcome, list) for row in outcome],
        skipped=[outcome for outcome in outcomes if isinstance(outcome, SkipRow)],
    )


def require_few_skipped(
    skipped: Sequence[SkipRow], total: int, max_skip_frac: float, listed_in: Path
) -> None:
    """Raise SkipLimitError, naming the list, when more than this share of videos was skipped."""
    if len(skipped) > max_skip_frac * total:
        raise SkipLimitError(
            f"{STAGE}: {len(skipped)} of {total} videos were skipped, above"
            f" extract_frames.max_skip_frac {max_skip_frac:g}; {listed_in} lists them, the first:"
            f" {skipped[0].path} ({skipped[0].reason})"
        )


def _picks_of(outcome: Outcome | None) -> Picks:
    if not isinstance(outcome, list):
        return ()
    return tuple((row.scene, row.frame_index) for row in outcome)


@contextmanager
def _processes(count: int) -> Iterator[Callable[..., Iterable[tuple[str, Outcome]]]]:
    """A `map` that spreads over processes and keeps the order."""
    if count <= 1:
        yield map
        return
    # A forked process would inherit locks that threads of OpenCV or libav may hold.
    with ProcessPoolExecutor(count, get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        yield pool.map


def _extract_video(job: _Job) -> tuple[str, Outcome]:
    """The rows of a video whose frames were written, or why it was skipped."""
    video = job.video
    rows: list[FrameRow] = []
    try:
        picks = _picks(job)
        for scene, index, timestamp_s, rgb, mask in _frames(video, picks):
            rows.append(_write_frame(job, scene, index, timestamp_s, rgb, mask))
    except DecodeError as error:
        for row in rows:
            Path(row.frame_path).unlink()
            if row.mask_path:
                Path(row.mask_path).unlink()
        return video.video_id, _skip(video, "decode_error", str(error))
    if rows:
        return video.video_id, rows
    wanted = f"frame {picks[0][1]}" if picks else f"scene of {job.params.min_scene_s:g} s"
    return video.video_id, _skip(video, "too_short", f"has no {wanted}")


def _picks(job: _Job) -> Picks:
    """(scene, frame index) pairs: the original's where they mean the same moments, else our own."""
    path, params = Path(job.video.path), job.params
    if job.original is not None and job.picks:
        fps, original_fps = probe(path).fps, probe(Path(job.original.path)).fps
        if abs(fps - original_fps) <= SAME_FPS * original_fps:
            return job.picks
    scenes = detect_scenes(path, params.scene_threshold, params.min_scene_s)
    return tuple(
        (number, index)
        for number, scene in enumerate(scenes)
        for index in sample_indices(scene, params.frames_per_scene)
    )


def _frames(
    video: InputRow, picks: Picks
) -> Iterator[tuple[int, int, float, ImageU8, ImageU8 | None]]:
    """(scene, frame index, timestamp in seconds, rgb, mask) of the frames that are there."""
    scene_of = {index: scene for scene, index in picks}
    masks = _masks(video, list(scene_of))
    for index, timestamp_s, rgb in read_frames(Path(video.path), scene_of):
        mask = next(masks) if video.mask_path else None
        if mask is not None and (mask[0] != index or mask[1].shape != rgb.shape[:2]):
            raise DecodeError(
                f"{video.mask_path}: frame {mask[0]} of {mask[1].shape} does not fit the video's"
                f" frame {index} of {rgb.shape[:2]}"
            )
        yield scene_of[index], index, timestamp_s, rgb, mask[1] if mask is not None else None


def _masks(video: InputRow, indices: Sequence[int]) -> Iterator[tuple[int, ImageU8]]:
    path = Path(video.mask_path)
    for index, _, mask in read_frames(path, indices, pixel_format="gray"):
        yield index, mask
    raise DecodeError(f"{video.mask_path}: has fewer frames than {video.path}")


def _write_frame(
    job: _Job, scene: int, index: int, timestamp_s: float, rgb: ImageU8, mask: ImageU8 | None
) -> FrameRow:
    stem = job.folder / job.video.video_id / f"{scene:03d}_{index:06d}"
    return FrameRow(
        **{name: getattr(job.video, name) for name in Origin.model_fields},
        frame_path=_write_png(stem.with_suffix(".png"), rgb),
        mask_path="" if mask is None else _write_png(stem.with_suffix(".mask.png"), mask),
        scene=scene,
        frame_index=index,
        timestamp_s=timestamp_s,
    )


def _write_png(path: Path, pixels: ImageU8) -> str:
    """Write (H, W) gray or (H, W, 3) RGB; returns the path as a manifest has it."""
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())
    return path.as_posix()


def _skip(video: InputRow, reason: Literal["decode_error", "too_short"], detail: str) -> SkipRow:
    return SkipRow(
        path=video.path, video_id=video.video_id, stage=STAGE, reason=reason, detail=detail
    )
