"""Files of a photo import: the photos with their names, and the files left out."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pipeline.core.manifest import Name, Row
from pipeline.media.unread_formats import unread_format
from pipeline.runtime.errors import ManifestError

PHOTO_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
# Characters that cannot occur in a file name of the import or in a CSV field.
BAD_NAME: Final = re.compile(r"[\\\x00-\x1f\x7f]")

LeftOutReason = Literal[
    "no_face", "face_too_small", "decode_error", "excluded", "other_format", "no_source"
]


class LeftOutRow(Row):
    """Row of left_out.csv: a file that was not imported, and the reason.

    path: relative to the photos' folder.
    """

    path: Name
    source: str
    reason: LeftOutReason
    detail: str = ""


@dataclass(frozen=True)
class Photo:
    """One photo to import. name: its path below the folder. stem: its base name in images.csv."""

    path: Path
    name: str
    stem: str

    @property
    def source(self) -> str:
        return self.name.split("/")[0]

    @property
    def person(self) -> str:
        """Name of the person: the folder below the source, or the photo itself without one."""
        return "/".join(self.stem.split("/")[:2])


def list_photos(folder: Path, sources: Sequence[str]) -> tuple[list[Photo], list[LeftOutRow]]:
    """List the photos of the sources, sorted, and the files that are not photos of a source.

    sources: names to import, all if empty. Raises ManifestError if the folder is missing, contains
    no source or not all of `sources`, or if a name has a forbidden character.
    """
    available = _source_names(folder)
    if missing := sorted(set(sources) - set(available)):
        raise ManifestError(f"{folder}: no source {listed(missing)}; found {listed(available)}")
    chosen = sorted(set(sources)) or available
    files = [path for name in chosen for path in visible_files(folder / name)]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    if bad := sorted(name for name in names if BAD_NAME.search(name)):
        raise ManifestError(
            "\n".join(f"{folder}: rename {name!r}: backslash or control character" for name in bad)
        )
    others = [
        LeftOutRow(
            path=path.name, source="", reason="no_source", detail="not in the folder of a source"
        )
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    others += [
        LeftOutRow(
            path=name,
            source=name.split("/")[0],
            reason="other_format",
            detail=unread_format(path),
        )
        for name, path in sorted(names.items())
        if not is_photo(path)
    ]
    wanted = {name: path for name, path in sorted(names.items()) if is_photo(path)}
    shared = Counter(_stem(name) for name in wanted)
    photos = [
        Photo(path, name, _stem(name) if shared[_stem(name)] == 1 else name)
        for name, path in wanted.items()
    ]
    return photos, others


def counted_reasons(left_out: Iterable[LeftOutRow]) -> str:
    """Reasons with their counts, such as `no_face 3, excluded 1`, or `none`."""
    counts = Counter(row.reason for row in left_out)
    return ", ".join(f"{reason} {number}" for reason, number in counts.most_common()) or "none"


def visible_files(folder: Path) -> list[Path]:
    """All files below a folder whose path has no part that starts with a dot."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def is_photo(path: Path) -> bool:
    """Whether the file's suffix is that of a JPEG or PNG image."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def listed(names: Sequence[str]) -> str:
    """Names joined by commas, or `none`."""
    return ", ".join(names) or "none"


def _source_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; expected photos in {folder}/<source>/")
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    sources = sorted(name for name in names if not name.startswith("."))
    if not sources:
        raise ManifestError(f"{folder}: contains no folder; expected photos in {folder}/<source>/")
    return sources


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]
