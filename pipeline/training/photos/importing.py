"""A data root made of real photos: each photo, and a pseudo-swap twin of it.

    FOLDER/<source>/x.jpg            a photo of a person of whom there is no other
    FOLDER/<source>/<person>/x.jpg   a photo of a person who may have several

A photo and its twin go through the same last encoding, with the tables of the photo's own JPEG
file, so that compression tells nothing about the label. Every photo has a random generator of its
own, so the number of processes changes no byte.
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
# What a root written here holds: nothing else is ever replaced.
OWN_NAMES: Final = frozenset({"images", MANIFEST, VIDEOS, LEFT_OUT})


@dataclass(frozen=True)
class Imported:
    """What was written. excluded_faces: faces found in the folders of excluded people."""

    entries: tuple[ImageEntry, ...]
    left_out: tuple[LeftOutRow, ...]
    excluded_faces: int


def import_photos(
    folder: Path, target: Path, params: PhotoImportParams, workers: int, *, replace: bool = False
) -> Imported:
    """Write `target`, a data root of the photos in `folder` and their pseudo-swap twins.

    workers: processes; they change speed only. replace: whether a root that was written by this
    function may be replaced. The root appears only when it is complete.
    Raises ManifestError for folders that cannot be used or when no photo comes in, WeightsError for
    an embedder and DetectorError for a detector that cannot be had.
    """
    _require_target(folder, target, params.exclude, replace)
    photos, others = list_photos(folder, params.sources)
    swapper_params(params)
    open_models(params)
    seen = map_in_processes(partial(find_largest, params), photos, workers, 4)
    found = [one for one in seen if isinstance(one, Found)]
    left_out = others + [one for one in seen if isinstance(one, LeftOutRow)]
    unwanted = excluded_faces(params, workers)
    found, refused = without(found, unwanted, params.same_person)
    left_out += refused
    if not found:
        raise ManifestError(f"{folder}: no photo can be used ({counted_reasons(left_out)})")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tasks = tasks_of(found, group_people(found, params.same_person), params)
    pairs = map_in_processes(partial(write_pair, part, params), tasks, workers, 4)
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
    """What was imported, left out and linked, in numbers only."""
    reals = [entry for entry in imported.entries if entry.label == REAL]
    taken = Counter(entry.source for entry in reals)
    left = Counter(row.source for row in imported.left_out)
    lines = [
        f"{name or '(no source)'}: {taken[name]} photos and their twins, {left[name]} left out"
        for name in sorted(taken.keys() | left.keys())
    ]
    people = Counter(entry.identity_id for entry in reals)
    several = sum(number > 1 for number in people.values())
    return [
        *lines,
        f"left out: {counted_reasons(imported.left_out)}",
        f"faces of excluded people looked for: {imported.excluded_faces}",
        f"{len(reals)} photos of {len(people)} people; {several} people have several photos, at"
        f" most {max(people.values())}",
    ]


def _require_target(folder: Path, target: Path, exclude: Sequence[Path], replace: bool) -> None:
    for other in (folder, *exclude):
        here, there = target.resolve(), other.resolve()
        if here == there or here in there.parents or there in here.parents:
            raise ManifestError(f"{target}: expected a place apart from {other}, which is read")
    if not target.exists():
        return
    if not target.is_dir():
        raise ManifestError(f"{target}: expected a folder or nothing, found a file")
    names = {path.name for path in target.iterdir()}
    if not names:
        return
    videos = [path for path in (target / VIDEOS).rglob("*") if not path.is_dir()]
    if not {MANIFEST, LEFT_OUT} <= names or names - OWN_NAMES or videos:
        raise ManifestError(
            f"{target}: not empty and not written by this command; choose another place"
        )
    if not replace:
        raise ManifestError(f"{target}: holds an earlier import; --replace makes it anew")
