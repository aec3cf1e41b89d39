"""A data root made of real photos: each photo, and a pseudo-swap twin of it.

    FOLDER/<source>/x.jpg            a photo of a person of whom there is no other
    FOLDER/<source>/<person>/x.jpg   a photo of a person who may have several

A photo and its twin go through the same last encoding, with the tables of the photo's own JPEG
file, so that compression tells nothing about the label. Every photo has a random generator of its
own, so the number of processes changes no byte.
"""

import shutil
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import Field, ValidationError

from pipeline.errors import DecodeError, ManifestError, ParamsError, PipelineError
from pipeline.faces.detector import Face, FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.input_images import ImageEntry
from pipeline.input_videos import ORIGINALS, VIDEOS
from pipeline.labels import FAKE, REAL, FakeType
from pipeline.manifest import write_rows
from pipeline.params import (
    Count,
    Fraction,
    OpenFraction,
    PseudoSwapParams,
    Section,
    Seed,
    validation_lines,
)
from pipeline.preprocess import FloatArray, ImageU8
from pipeline.processes import map_in_processes
from pipeline.seam import arcface_square, square_px
from pipeline.training.inswapper_network import ArcfaceEmbedder, InswapperGenerator
from pipeline.training.photo_encoding import Encoding, read_encoding, read_shrunk
from pipeline.training.photo_files import (
    LeftOutRow,
    Photo,
    counted_reasons,
    is_photo,
    list_photos,
    listed,
    visible_files,
)
from pipeline.training.photo_people import Found, group_people, partners, without
from pipeline.training.pseudo_swap import PLAIN, PseudoSwapper, Swap
from pipeline.training.swap_masks import mask_u8

MANIFEST: Final = "images.csv"
LEFT_OUT: Final = "left_out.csv"
# What a root written here holds: nothing else is ever replaced.
OWN_NAMES: Final = frozenset({"images", MANIFEST, VIDEOS, LEFT_OUT})
# Standard deviation of the twin's keypoints, of the paste square's side: who swaps uses another
# detector than who looks for the swap.
KEYPOINT_JITTER: Final = 0.006
EXCLUDED_FACES: Final = 64

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class PhotoImportParams(Section):
    """What changes the root that is written. sources: names to take, empty for all there are.

    embedder: ONNX file that tells people apart, or None. same_person: least cosine similarity of
    two photos of one person. exclude: folders of people who must not come in. inswapper: the
    network that makes the twins, whose embedder is then needed; None for pseudo-swaps.
    """

    seed: Seed
    sources: tuple[str, ...]
    detector: Annotated[str, Field(min_length=1)]
    pack: Annotated[str, Field(min_length=1)]
    min_score: OpenFraction
    min_face_px: Count
    max_side_px: Annotated[int, Field(ge=64)]
    hull_frac: Fraction
    reencode: bool
    embedder: Path | None
    same_person: OpenFraction
    exclude: tuple[Path, ...]
    inswapper: Path | None = None


@dataclass(frozen=True)
class Imported:
    """What was written. excluded_faces: faces found in the folders of excluded people."""

    entries: tuple[ImageEntry, ...]
    left_out: tuple[LeftOutRow, ...]
    excluded_faces: int


@dataclass(frozen=True, eq=False)
class _Task:
    """A photo, whom it shows, and for INSwapper whose face its twin gets."""

    found: Found
    identity: str
    donor: Found | None = None
    donor_identity: str = ""


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
    _open_models(params)
    seen = map_in_processes(partial(_find, params), photos, workers, 4)
    found = [one for one in seen if isinstance(one, Found)]
    left_out = others + [one for one in seen if isinstance(one, LeftOutRow)]
    unwanted = _excluded_faces(params, workers)
    found, refused = without(found, unwanted, params.same_person)
    left_out += refused
    if not found:
        raise ManifestError(f"{folder}: no photo can be used ({counted_reasons(left_out)})")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tasks = _tasks(found, group_people(found, params.same_person), params)
    pairs = map_in_processes(partial(_write_pair, part, params), tasks, workers, 4)
    entries = [entry for pair in pairs for entry in pair]
    left_out.sort(key=lambda row: row.path)
    (part / VIDEOS / ORIGINALS).mkdir(parents=True)
    write_rows(part / LEFT_OUT, left_out, LeftOutRow)
    write_rows(part / MANIFEST, entries, ImageEntry)
    if target.exists():
        shutil.rmtree(target)
    part.replace(target)
    return Imported(tuple(entries), tuple(left_out), len(unwanted))


def read_params(given: Mapping[str, Any]) -> PhotoImportParams:
    """Options as the command line gives them. Raises ParamsError, one line a fault."""
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    try:
        return PhotoImportParams.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(validation_lines("import_photos", error))) from None


def _tasks(
    found: Sequence[Found], identities: Sequence[str], params: PhotoImportParams
) -> list[_Task]:
    if params.inswapper is None:
        return [_Task(*one) for one in zip(found, identities, strict=True)]
    lends = partners(identities)
    first = dict(zip(reversed(identities), reversed(found), strict=True))
    tasks = []
    for one, identity in zip(found, identities, strict=True):
        donor = lends.get(identity, "")
        tasks.append(_Task(one, identity, first.get(donor), donor))
    return tasks


def swapper_params(params: PhotoImportParams) -> PseudoSwapParams:
    """How twins are made: INSwapper's own geometry with the person's own face."""
    changes = {
        "cross_identity_frac": 0.0,
        "hull_frac": params.hull_frac,
        "box_frac": 0.0,
        "restorer_frac": 0.0,
        "occlusion_frac": 0.1,
        "boost_frac": 0.0,
        "black_border_frac": 0.2,
        "low_pass_frac": 0.4,
        "low_pass_min_px": 92,
        "low_pass_max_px": 128,
    }
    return PseudoSwapParams.model_validate(PLAIN.model_dump() | changes)


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


def _open_models(params: PhotoImportParams) -> None:
    """Fail before the work if a model cannot be had."""
    if params.exclude and params.embedder is None:
        raise PipelineError("--exclude: needs --embedder, the ONNX file that tells people apart")
    if params.inswapper is not None:
        if params.embedder is None:
            raise PipelineError(
                "--inswapper: needs --embedder, the ArcFace network of its identities (buffalo_l's"
                " w600k_r50.onnx)"
            )
        _generator(params.inswapper, params.embedder)
    _detector(params.detector, params.pack, params.min_score)
    if params.embedder is not None:
        _embedder(params.embedder)


@cache
def _detector(name: str, pack: str, min_score: float) -> FaceDetector:
    """One detector a process, with one thread, so that workers do not fight for cores."""
    return load_detector(name, pack=pack, min_score=min_score, threads=1)


@cache
def _embedder(path: Path) -> ArcfaceEmbedder:
    return ArcfaceEmbedder(path)


@cache
def _generator(path: Path, embedder: Path) -> InswapperGenerator:
    return InswapperGenerator(path, _embedder(embedder))


def _faces(params: PhotoImportParams, rgb: ImageU8, least_px: int, most: int) -> list[Face]:
    detector = _detector(params.detector, params.pack, params.min_score)
    return find_faces(
        detector, rgb, min_score=params.min_score, min_face_px=least_px, max_faces=most
    )


def _find(params: PhotoImportParams, photo: Photo) -> Found | LeftOutRow:
    """The largest face of a photo, or why there is none."""
    skip = partial(LeftOutRow, path=photo.name, source=photo.source)
    try:
        rgb = read_shrunk(photo.path, params.max_side_px)
    except DecodeError:
        return skip(reason="decode_error")
    faces = _faces(params, rgb, 1, 1)
    if not faces:
        return skip(reason="no_face")
    if faces[0].size_px < params.min_face_px:
        detail = f"largest {faces[0].size_px:.0f} px, at least {params.min_face_px} wanted"
        return skip(reason="face_too_small", detail=detail)
    keypoints = faces[0].keypoints
    if keypoints is None:
        return skip(reason="no_face", detail=f"{params.detector} gives no keypoints")
    embedding = (
        None if params.embedder is None else _embedder(params.embedder).embed(rgb, keypoints)
    )
    return Found(photo, keypoints, embedding)


def _excluded_faces(params: PhotoImportParams, workers: int) -> list[FloatArray]:
    """Embeddings of all faces in the folders of excluded people."""
    for folder in params.exclude:
        if not folder.is_dir():
            raise ManifestError(f"--exclude: {folder}: no such folder")
    pictures = [
        path
        for folder in params.exclude
        for path in sorted(visible_files(folder))
        if is_photo(path)
    ]
    faces = [
        face
        for many in map_in_processes(partial(_embed_all, params), pictures, workers, 4)
        for face in many
    ]
    if params.exclude and not faces:
        raise ManifestError(f"--exclude: no face in {listed([str(f) for f in params.exclude])}")
    return faces


def _embed_all(params: PhotoImportParams, path: Path) -> list[FloatArray]:
    try:
        rgb = read_shrunk(path, params.max_side_px)
    except DecodeError as error:
        raise DecodeError(f"--exclude: {error}") from error
    if params.embedder is None:
        return []
    embedder = _embedder(params.embedder)
    faces = _faces(params, rgb, 1, EXCLUDED_FACES)
    return [embedder.embed(rgb, face.keypoints) for face in faces if face.keypoints is not None]


def _write_pair(
    root: Path, params: PhotoImportParams, task: _Task
) -> tuple[ImageEntry, ImageEntry]:
    """Write a photo, its twin and the twin's mask."""
    found = task.found
    photo = found.photo
    rgb = read_shrunk(photo.path, params.max_side_px)
    encoding = read_encoding(photo.path)
    rng = np.random.default_rng([params.seed, zlib.crc32(photo.name.encode())])
    spread_px = KEYPOINT_JITTER * square_px(arcface_square(found.keypoints))
    shifted = found.keypoints + rng.normal(0, spread_px, (5, 2)).astype(np.float32)
    swap = _swap(params, rgb, shifted, rng, task.donor)
    # A picture that had to be shrunk cannot be copied.
    anew = params.reencode or max(encoding.size) > params.max_side_px
    real = encoding.encode(rgb) if anew else photo.path.read_bytes()
    suffix = encoding.suffix if anew else photo.path.suffix.lower()
    names = (
        _write(root, f"images/real/{photo.stem}{suffix}", real),
        _write(root, f"images/swap/{photo.stem}{encoding.suffix}", encoding.encode(swap.rgb)),
        _write(root, f"images/masks/{photo.stem}.png", Encoding().encode(mask_u8(swap.alpha))),
    )
    return _entries(task, "pseudo" if params.inswapper is None else "inswapper", *names)


def _swap(
    params: PhotoImportParams,
    rgb: ImageU8,
    keypoints: FloatArray,
    rng: np.random.Generator,
    donor: Found | None,
) -> Swap:
    """By INSwapper's network where there is one; without a donor people keep their own face."""
    if params.inswapper is None or params.embedder is None:
        return PseudoSwapper(swapper_params(params)).swap(rgb, keypoints, rng)
    face = None
    if donor is not None:
        face = (read_shrunk(donor.photo.path, params.max_side_px), donor.keypoints)
    return _generator(params.inswapper, params.embedder).swap(rgb, keypoints, rng, face)


def _write(root: Path, name: str, content: bytes) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def _entries(
    task: _Task, fake_type: FakeType, real: str, fake: str, mask: str
) -> tuple[ImageEntry, ImageEntry]:
    photo, identity = task.found.photo, task.identity
    original = ImageEntry(
        path=real,
        label=REAL,
        source=photo.source,
        video_id=f"photo/{photo.stem}",
        identity_id=identity,
    )
    twin = ImageEntry(
        path=fake,
        label=FAKE,
        source=photo.source,
        video_id=f"swap/{photo.stem}",
        identity_id=identity,
        fake_type=fake_type,
        source_identity_id=task.donor_identity,
        original_video_id=f"photo/{photo.stem}",
        mask_path=mask,
    )
    return original, twin
