"""A data root made of real photos: each photo, and a pseudo-swap twin of it.

    FOLDER/<source>/x.jpg            a photo of a person of whom there is no other
    FOLDER/<source>/<person>/x.jpg   a photo of a person who may have several

A photo and its twin go through the same last encoding, with the tables of the photo's own JPEG
file, so that compression tells nothing about the label. Every photo has a random generator of its
own, so the number of processes changes no byte.
"""

import io
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from pydantic import Field, ValidationError

from pipeline.crops import read_picture
from pipeline.errors import DecodeError, ManifestError, ParamsError, PipelineError
from pipeline.faces.detector import Face, FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.inputs import ORIGINALS, ImageEntry
from pipeline.labels import FAKE, REAL, FakeType
from pipeline.manifest import Name, Row, write_rows
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
from pipeline.seam import arcface_square, square_px
from pipeline.training.pseudo_swap import (
    ArcfaceEmbedder,
    InswapperGenerator,
    PseudoSwapper,
    Swap,
)
from pipeline.training.sample import PLAIN, VIDEOS, mask_u8

PHOTO_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
MANIFEST: Final = "images.csv"
LEFT_OUT: Final = "left_out.csv"
# What a root written here holds: nothing else is ever replaced.
OWN_NAMES: Final = frozenset({"images", MANIFEST, VIDEOS, LEFT_OUT})
# Standard deviation of the twin's keypoints, of the paste square's side: who swaps uses another
# detector than who looks for the swap.
KEYPOINT_JITTER: Final = 0.006
# A file's name may be anything that can name a folder and stand in a CSV line.
BAD_NAME: Final = re.compile(r"[\\\x00-\x1f\x7f]")
EXCLUDED_FACES: Final = 64

Reason = Literal[
    "no_face", "face_too_small", "decode_error", "excluded", "other_format", "no_source"
]
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


class LeftOutRow(Row):
    """left_out.csv: a file that did not come in, and why. path: relative to the photos' folder."""

    path: Name
    source: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Imported:
    """What was written. excluded_faces: faces found in the folders of excluded people."""

    entries: tuple[ImageEntry, ...]
    left_out: tuple[LeftOutRow, ...]
    excluded_faces: int


@dataclass(frozen=True)
class _Photo:
    """One photo to import. name: its path below the folder; stem: what its rows are called."""

    path: Path
    name: str
    stem: str

    @property
    def source(self) -> str:
        return self.name.split("/")[0]

    @property
    def person(self) -> str:
        """The person as the folders tell: a folder below the source, else the photo alone."""
        return "/".join(self.stem.split("/")[:2])


@dataclass(frozen=True, eq=False)
class _Found:
    """A photo's largest face. embedding: (D,) of length 1, or None without an embedder."""

    photo: _Photo
    keypoints: FloatArray
    embedding: FloatArray | None


@dataclass(frozen=True, eq=False)
class _Task:
    """A photo, whom it shows, and for INSwapper whose face its twin gets."""

    found: _Found
    identity: str
    donor: _Found | None = None
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
    seen = _map(partial(_find, params), photos, workers)
    found = [one for one in seen if isinstance(one, _Found)]
    left_out = others + [one for one in seen if isinstance(one, LeftOutRow)]
    unwanted = _excluded_faces(params, workers)
    found, refused = _without(found, unwanted, params.same_person)
    left_out += refused
    if not found:
        raise ManifestError(f"{folder}: no photo can be used ({counted_reasons(left_out)})")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tasks = _tasks(found, group_people(found, params.same_person), params)
    pairs = _map(partial(_write_pair, part, params), tasks, workers)
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


def list_photos(folder: Path, sources: Sequence[str]) -> tuple[list[_Photo], list[LeftOutRow]]:
    """The photos of the sources, sorted, and the files beside them that are none.

    Raises ManifestError when the folder is missing, holds no source, lacks one of `sources`, or
    when a name cannot stand in a manifest.
    """
    there = _source_names(folder)
    if missing := sorted(set(sources) - set(there)):
        raise ManifestError(f"{folder}: no source {_listed(missing)}; there are {_listed(there)}")
    taken = sorted(set(sources)) or there
    files = [path for name in taken for path in _visible_files(folder / name)]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    if bad := sorted(name for name in names if BAD_NAME.search(name)):
        raise ManifestError(
            "\n".join(f"{folder}: rename {name!r}: backslash or control character" for name in bad)
        )
    others = [
        LeftOutRow(path=path.name, source="", reason="no_source", detail="in no source's folder")
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    others += [
        LeftOutRow(path=name, source=name.split("/")[0], reason="other_format")
        for name, path in sorted(names.items())
        if not _is_photo(path)
    ]
    wanted = {name: path for name, path in sorted(names.items()) if _is_photo(path)}
    shared = Counter(_stem(name) for name in wanted)
    photos = [
        _Photo(path, name, _stem(name) if shared[_stem(name)] == 1 else name)
        for name, path in wanted.items()
    ]
    return photos, others


def group_people(found: Sequence[_Found], same_person: float) -> list[str]:
    """identity_id of every photo: people whom folders or embeddings link are one person.

    It is the smallest of the names that the folders give them.
    """
    people = sorted({one.photo.person for one in found})
    parents = {name: name for name in people}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for first, second in _similar_pairs(_embeddings(found), same_person):
        one, other = sorted((root(found[first].photo.person), root(found[second].photo.person)))
        parents[other] = one
    return [root(one.photo.person) for one in found]


def partners(identities: Iterable[str]) -> dict[str, str]:
    """Who lends the face to whom: two people each other, so that few are linked by their swaps.

    In the order of their names; the last of an odd number is left without.
    """
    people = sorted(set(identities))
    pairs = list(zip(people[::2], people[1::2], strict=False))
    return dict(pairs) | {second: first for first, second in pairs}


def _tasks(
    found: Sequence[_Found], identities: Sequence[str], params: PhotoImportParams
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


def counted_reasons(left_out: Iterable[LeftOutRow]) -> str:
    """Reasons and their numbers, as `no_face 3, excluded 1`, or `none`."""
    counts = Counter(row.reason for row in left_out)
    return ", ".join(f"{reason} {number}" for reason, number in counts.most_common()) or "none"


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


def _source_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; expected photos in {folder}/<source>/")
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    sources = sorted(name for name in names if not name.startswith("."))
    if not sources:
        raise ManifestError(f"{folder}: no folder in it; expected photos in {folder}/<source>/")
    return sources


def _visible_files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


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


def _read_shrunk(path: Path, max_side_px: int) -> ImageU8:
    rgb = read_picture(path)
    scale = max_side_px / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _faces(params: PhotoImportParams, rgb: ImageU8, least_px: int, most: int) -> list[Face]:
    detector = _detector(params.detector, params.pack, params.min_score)
    return find_faces(
        detector, rgb, min_score=params.min_score, min_face_px=least_px, max_faces=most
    )


def _find(params: PhotoImportParams, photo: _Photo) -> _Found | LeftOutRow:
    """The largest face of a photo, or why there is none."""
    skip = partial(LeftOutRow, path=photo.name, source=photo.source)
    try:
        rgb = _read_shrunk(photo.path, params.max_side_px)
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
    return _Found(photo, keypoints, embedding)


def _excluded_faces(params: PhotoImportParams, workers: int) -> list[FloatArray]:
    """Embeddings of all faces in the folders of excluded people."""
    for folder in params.exclude:
        if not folder.is_dir():
            raise ManifestError(f"--exclude: {folder}: no such folder")
    pictures = [
        path
        for folder in params.exclude
        for path in sorted(_visible_files(folder))
        if _is_photo(path)
    ]
    faces = [face for many in _map(partial(_embed_all, params), pictures, workers) for face in many]
    if params.exclude and not faces:
        raise ManifestError(f"--exclude: no face in {_listed([str(f) for f in params.exclude])}")
    return faces


def _embed_all(params: PhotoImportParams, path: Path) -> list[FloatArray]:
    try:
        rgb = _read_shrunk(path, params.max_side_px)
    except DecodeError as error:
        raise DecodeError(f"--exclude: {error}") from error
    if params.embedder is None:
        return []
    embedder = _embedder(params.embedder)
    faces = _faces(params, rgb, 1, EXCLUDED_FACES)
    return [embedder.embed(rgb, face.keypoints) for face in faces if face.keypoints is not None]


def _embeddings(found: Sequence[_Found]) -> NDArray[np.float32]:
    """(n, D), or (n, 0) without an embedder."""
    known = [one.embedding for one in found if one.embedding is not None]
    return np.stack(known) if known else np.zeros((len(found), 0), np.float32)


def _without(
    found: list[_Found], unwanted: list[FloatArray], same_person: float
) -> tuple[list[_Found], list[LeftOutRow]]:
    """The photos that show nobody of the excluded people, and the others as left out."""
    if not unwanted or not found:
        return found, []
    closest = (_embeddings(found) @ np.stack(unwanted).T).max(axis=1).tolist()
    refused = [
        LeftOutRow(
            path=one.photo.name,
            source=one.photo.source,
            reason="excluded",
            detail=f"similarity {value:.3f}",
        )
        for one, value in zip(found, closest, strict=True)
        if value > same_person
    ]
    kept = [one for one, value in zip(found, closest, strict=True) if value <= same_person]
    return kept, refused


def _similar_pairs(embeddings: NDArray[np.float32], least: float) -> list[tuple[int, int]]:
    similar = np.triu(embeddings @ embeddings.T > least, k=1)
    return [(int(first), int(second)) for first, second in np.argwhere(similar)]


@dataclass(frozen=True)
class _Encoding:
    """How a photo was stored. size: width and height. tables: of a JPEG file, else None."""

    size: tuple[int, int] = (0, 0)
    tables: tuple[tuple[int, ...], ...] | None = None
    subsampling: int = -1
    grey: bool = False

    @property
    def suffix(self) -> str:
        return ".png" if self.tables is None else ".jpg"

    def encode(self, pixels: ImageU8) -> bytes:
        """(H, W[, 3]) RGB or grey as the photo was stored, once more."""
        image = Image.fromarray(pixels).convert("L" if self.grey or pixels.ndim == 2 else "RGB")
        stream = io.BytesIO()
        if self.tables is None:
            image.save(stream, "PNG", compress_level=3)
        else:
            tables = [list(table) for table in self.tables]
            image.save(stream, "JPEG", qtables=tables, subsampling=self.subsampling)
        return stream.getvalue()


def _read_encoding(path: Path) -> _Encoding:
    with Image.open(path) as image:
        grey = image.mode == "L"
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return _Encoding(image.size, grey=grey)
        tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
        return _Encoding(image.size, tables, JpegImagePlugin.get_sampling(image), grey)


def _write_pair(
    root: Path, params: PhotoImportParams, task: _Task
) -> tuple[ImageEntry, ImageEntry]:
    """Write a photo, its twin and the twin's mask."""
    found = task.found
    photo = found.photo
    rgb = _read_shrunk(photo.path, params.max_side_px)
    encoding = _read_encoding(photo.path)
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
        _write(root, f"images/masks/{photo.stem}.png", _Encoding().encode(mask_u8(swap.alpha))),
    )
    return _entries(task, "pseudo" if params.inswapper is None else "inswapper", *names)


def _swap(
    params: PhotoImportParams,
    rgb: ImageU8,
    keypoints: FloatArray,
    rng: np.random.Generator,
    donor: _Found | None,
) -> Swap:
    """By INSwapper's network where there is one; without a donor people keep their own face."""
    if params.inswapper is None or params.embedder is None:
        return PseudoSwapper(swapper_params(params)).swap(rgb, keypoints, rng)
    face = None
    if donor is not None:
        face = (_read_shrunk(donor.photo.path, params.max_side_px), donor.keypoints)
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


def _map(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], workers: int
) -> list[ResultT]:
    """Apply a function to all items, in order, in as many processes as asked for."""
    if min(workers, len(items)) <= 1:
        return [function(item) for item in items]
    # Forking a process that holds ONNX Runtime's or OpenCV's threads can hang it.
    with ProcessPoolExecutor(
        min(workers, len(items)), get_context("spawn"), cv2.setNumThreads, (1,)
    ) as pool:
        return list(pool.map(function, items, chunksize=4))
