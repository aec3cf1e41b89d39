"""Import of real photos into a data root: each photo, and its paired swap.

    FOLDER/<source>/x.jpg            the only photo of a person
    FOLDER/<source>/<person>/x.jpg   one of several photos of a person

A photo and its paired swap get the same final encoding, with the quantisation tables of the photo's
JPEG file, so compression does not reveal the label. Every photo has its own random generator, so
the number of processes changes no byte.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.core.labels import REAL
from pipeline.core.manifest import write_rows
from pipeline.inputs.images import ImageEntry
from pipeline.inputs.videos import ORIGINALS, VIDEOS
from pipeline.runtime.errors import ManifestError
from pipeline.runtime.workers import map_in_processes
from pipeline.training.photos.faces import excluded_faces, find_largest
from pipeline.training.photos.files import LeftOutRow, counted_reasons, list_photos
from pipeline.training.photos.models import open_models
from pipeline.training.photos.paired_swaps import swapper_params, tasks_of, write_pair
from pipeline.training.photos.params import PhotoImportParams
from pipeline.training.photos.people import Found, group_people, without

MANIFEST: Final = "images.csv"
LEFT_OUT: Final = "left_out.csv"
# Entries of a root written by this module; a root with anything else is never replaced.
OWN_NAMES: Final = frozenset({"images", MANIFEST, VIDEOS, LEFT_OUT})


@dataclass(frozen=True)
class Imported:
    """Rows that were written. excluded_faces: number of faces in the folders of excluded people."""

    entries: tuple[ImageEntry, ...]
    left_out: tuple[LeftOutRow, ...]
    excluded_faces: int


def import_photos(
    folder: Path, target: Path, params: PhotoImportParams, workers: int, *, replace: bool = False
) -> Imported:
    """Write `target`, a data root of the photos in `folder` and their paired swaps.

    workers: number of processes, which affects only speed. replace: whether to replace a root that
    this function wrote earlier. The root appears only when it is complete.
    Raises ManifestError for unusable folders or if no photo can be imported, WeightsError for an
    embedder or INSwapper network and DetectorError for a detector that cannot be loaded.
    """
    _require_target(folder, target, params.exclude, replace)
    photos, others = list_photos(folder, params.sources)
    swapper_params(params)
    open_models(params)
    results = map_in_processes(partial(find_largest, params), photos, workers, "photographs", 4)
    found = [result for result in results if isinstance(result, Found)]
    left_out = others + [result for result in results if isinstance(result, LeftOutRow)]
    unwanted = excluded_faces(params, workers)
    found, excluded = without(found, unwanted, params.same_person)
    left_out += excluded
    if not found:
        explained = next((f"; {row.path}: {row.detail}" for row in left_out if row.detail), "")
        raise ManifestError(
            f"{folder}: no photo can be used ({counted_reasons(left_out)}){explained}"
        )
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tasks = tasks_of(found, group_people(found, params.same_person), params)
    pairs = map_in_processes(partial(write_pair, part, params), tasks, workers, "photographs", 4)
    entries = [entry for pair in pairs for entry in pair]
    left_out.sort(key=lambda row: row.path)
    (part / VIDEOS / ORIGINALS).mkdir(parents=True)
    write_rows(part / LEFT_OUT, left_out, LeftOutRow)
    write_rows(part / MANIFEST, entries, ImageEntry)
    if target.exists():
        shutil.rmtree(target)
    part.replace(target)
    return Imported(tuple(entries), tuple(left_out), len(unwanted))


def summary_lines(imported: Imported) -> list[str]:
    """Lines with the numbers of imported, left-out and linked photos, without names."""
    reals = [entry for entry in imported.entries if entry.label == REAL]
    photos = Counter(entry.source for entry in reals)
    left = Counter(row.source for row in imported.left_out)
    lines = [
        f"{name or '(no source)'}: {photos[name]} photos with paired swaps, {left[name]} left out"
        for name in sorted(photos.keys() | left.keys())
    ]
    people = Counter(entry.identity_id for entry in reals)
    several = sum(number > 1 for number in people.values())
    return [
        *lines,
        f"left out: {counted_reasons(imported.left_out)}",
        f"faces of excluded people to compare with: {imported.excluded_faces}",
        f"{len(reals)} photos of {len(people)} people; {several} people have several photos, at"
        f" most {max(people.values())}",
    ]


def _require_target(folder: Path, target: Path, exclude: Sequence[Path], replace: bool) -> None:
    for other in (folder, *exclude):
        here, there = target.resolve(), other.resolve()
        if here == there or here in there.parents or there in here.parents:
            raise ManifestError(
                f"{target}: expected a folder separate from {other}, which is an input"
            )
    if not target.exists():
        return
    if not target.is_dir():
        raise ManifestError(f"{target}: expected a folder or nothing, got a file")
    names = {path.name for path in target.iterdir()}
    if not names:
        return
    videos = [path for path in (target / VIDEOS).rglob("*") if not path.is_dir()]
    if not {MANIFEST, LEFT_OUT} <= names or names - OWN_NAMES or videos:
        raise ManifestError(
            f"{target}: not empty and not written by this command; choose a different folder"
        )
    if not replace:
        raise ManifestError(f"{target}: contains an earlier import; replace it with --replace")
