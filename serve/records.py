"""Records of serve.predict: which files are scored, their kind, and the result of each."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pipeline.core.arrays import ImageU8
from pipeline.media.images import write_png
from pipeline.media.unread_formats import unread_format
from pipeline.media.video import read_frames
from pipeline.runtime.errors import DecodeError
from serve.detector.heatmaps import draw_heatmap
from serve.detector.images import FORMATS, decode_image, is_image
from serve.detector.inference import FaceResult, SwapDetector
from serve.settings import Settings
from serve.video.files import is_video
from serve.video.videos import VideoResult, map_in_order, score_video

IMAGES = (".avif", ".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Photos of phones; they are found to be reported, because they are not read.
UNREAD = (".heic", ".heif")
VIDEOS = (".3gp", ".asf", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv")
SUFFIXES = frozenset((*IMAGES, *UNREAD, *VIDEOS, ".m2ts", ".mts", ".webm", ".wmv"))

RecordKind = Literal["image", "video"]
Record = dict[str, Any]


@dataclass(frozen=True)
class Input:
    """An input file. number: its position in the run. kind: from its content; None if unknown."""

    path: Path
    number: int
    kind: RecordKind | None
    error: str = ""


@dataclass(frozen=True)
class Examiner:
    """Scores inputs in their order, `workers` images or frames at the same time."""

    detector: SwapDetector
    settings: Settings
    pool: Executor
    workers: int
    heatmap_folder: Path | None = None

    def records(self, paths: Iterable[Path]) -> Iterator[Record]:
        """One record per path, in their order; an input that cannot be scored has an `error`."""
        inputs = (identify(path, number) for number, path in enumerate(paths))
        for kind, group in groupby(inputs, key=lambda item: item.kind):
            if kind == "image":
                yield from map_in_order(self.pool, self._image, group, ahead=2 * self.workers)
            elif kind == "video":
                yield from map(self._video, group)
            else:
                yield from (self._record(item, error=item.error) for item in group)

    def _image(self, item: Input) -> Record:
        try:
            image = decode_image(item.path, self.settings.max_image_pixels)
        except DecodeError as error:
            return self._record(item, error=str(error))
        result = self.detector.score_image(image.rgb)
        faces = [face.to_dict() for face in result.faces]
        if self.heatmap_folder is not None:
            for number, face in enumerate(result.faces):
                faces[number]["heatmap"] = self._heatmap(item, f"face{number}", image.rgb, face)
        return self._record(
            item,
            verdict=result.verdict,
            score=result.score,
            evidence={"faces": faces},
            warnings=(*image.warnings, *result.warnings),
        )

    def _video(self, item: Input) -> Record:
        try:
            result = score_video(self.detector, item.path, self.settings, self.pool, self.workers)
        except DecodeError as error:
            return self._record(item, error=str(error))
        evidence: dict[str, Any] = {
            "frames": [frame.to_dict() for frame in result.frames],
            "scenes": [scene.to_dict() for scene in result.scenes],
            "highest_scene": result.highest_scene,
            "tracks": [track.to_dict() for track in result.tracks],
        }
        if self.heatmap_folder is not None:
            evidence["heatmap"] = self._video_heatmap(item, result)
        return self._record(
            item,
            verdict=result.verdict,
            score=result.score,
            evidence=evidence,
            warnings=result.warnings,
        )

    def _video_heatmap(self, item: Input, result: VideoResult) -> str | None:
        """Draw the highest-scoring face of the highest-scoring frame; None without any face."""
        scored = [frame for frame in result.frames if frame.result.score is not None]
        if not scored:
            return None
        frame = max(scored, key=lambda frame: frame.result.score or 0.0)
        face = max(frame.result.faces, key=lambda face: face.score)
        (_, _, rgb) = next(read_frames(item.path, [frame.frame_index], threads=self.workers))
        return self._heatmap(item, f"frame{frame.frame_index}", rgb, face)

    def _heatmap(self, item: Input, part: str, rgb: ImageU8, face: FaceResult) -> str:
        # Images in different folders may have the same name; the number makes it unique.
        name = f"{item.number:05d}_{item.path.stem}_{part}.png"
        path = (self.heatmap_folder or Path()) / name
        write_png(path, draw_heatmap(self.detector, rgb, face))
        return str(path)

    def _record(
        self,
        item: Input,
        *,
        verdict: str | None = None,
        score: float | None = None,
        evidence: dict[str, Any] | None = None,
        error: str | None = None,
        warnings: Iterable[str] = (),
    ) -> Record:
        empty: dict[str, Any] = {"frames": []} if item.kind == "video" else {"faces": []}
        return {
            "path": str(item.path),
            "kind": item.kind,
            "verdict": verdict,
            "score": None if score is None else round(score, 6),
            **(evidence or empty),
            "error": error,
            "warnings": [*self.detector.warnings, *warnings],
        }


def identify(path: Path, number: int = 0) -> Input:
    """Determine the kind of a file from its content."""
    make = partial(Input, path, number)
    try:
        if path.is_dir():
            return make(None, "this folder contains no images or videos")
        if path.exists() and not path.is_file():
            return make(None, "not a regular file")
        if is_image(path):
            return make("image")
        if advice := unread_format(path):
            return make(None, advice)
        if is_video(path):
            return make("video")
    except (DecodeError, OSError) as error:
        return make(None, getattr(error, "strerror", None) or str(error))
    return make(None, f"neither an image ({', '.join(FORMATS)}) nor a video")


def find_inputs(paths: Iterable[Path]) -> list[Path]:
    """Files as given; each folder is replaced by the images and videos below it, sorted.

    Images and videos are recognised by suffix. A folder without any stays in the list, so that it
    is reported as an error.
    """
    found: list[Path] = []
    for path in paths:
        found += (sorted(_below(path)) or [path]) if path.is_dir() else [path]
    return found


def _below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path
