"""What earlier runs of a stage made, by what they made it from: only what is new is worked on.

An entry is one piece of work (a video's frames, a frame's crops): a sha256, then a zip of its files
and of a value. Its name is the digest of everything that decides the result, so an entry is never
out of date, and what is restored are the bytes that would have been made. Entries lie beside DVC's
own temporary files, are no outputs, and are only ever copied: nothing that is done to an output
reaches them. Deleting the folder is always safe.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from pipeline.runtime.errors import PipelineError

VARIABLE = "INSWAPPER_STAGE_CACHE"
OFF = "off"
VALUE = "value.json"
SEAL_BYTES = 64


def stage_cache_root() -> Path | None:
    """The folder named by $INSWAPPER_STAGE_CACHE, else the repository's .dvc/tmp/stages.

    None when the variable says `off`. `dvc exp run --queue` and `--temp` run in a copy below the
    repository's .dvc/tmp and so share its entries.
    """
    configured = os.environ.get(VARIABLE, "")
    if configured:
        return None if configured == OFF else Path(configured)
    here = Path.cwd()
    homes = [folder for folder in here.parents if folder.parts[-2:] == (".dvc", "tmp")]
    return (homes[-1] if homes else here / ".dvc" / "tmp") / "stages"


@dataclass(frozen=True)
class StageCache:
    """The entries of one stage; can be sent to other processes, which may write at the same time.

    folder: None when switched off. recipe: digest of what decides every result of the stage.
    """

    folder: Path | None
    recipe: str
    opened_ns: int = field(default_factory=time.time_ns)

    def key(self, *inputs: Any) -> str:
        """Name of the entry that is made from these inputs (anything that JSON can hold)."""
        return _json_digest([self.recipe, inputs])

    def restore(self, key: str, prefix: str) -> Any | None:
        """Write an entry's files to `prefix` + their names and return its value.

        None, and nothing is written, when there is no such entry or it is not whole.
        """
        if (path := self._path(key)) is None:
            return None
        try:
            with path.open("rb") as stream:
                seal = stream.read(SEAL_BYTES)
                if hashlib.file_digest(stream, "sha256").hexdigest().encode() != seal:
                    return None
                with ZipFile(stream) as entry:
                    value = _unpack(entry, prefix)
            _mark_used(path)
        except OSError:  # not there, or another user's
            return None
        return value

    def store(self, key: str, prefix: str, names: Iterable[str], value: Any) -> None:
        """Keep a copy of the files `prefix` + name and a value that JSON can hold."""
        if (path := self._path(key)) is None:
            return
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".tmp", delete=False) as stream:
            stream.write(bytes(SEAL_BYTES))
            with ZipFile(stream, "w") as entry:
                for name in names:
                    entry.write(f"{prefix}{name}", name)
                entry.writestr(VALUE, json.dumps(value))
            stream.seek(SEAL_BYTES)
            seal = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            stream.write(seal.encode())
        _mark_used(Path(stream.name))
        Path(stream.name).replace(path)

    def prune(self) -> None:
        """Delete what no run has used since this one began, unfinished entries of dead runs too.

        So the cache is no larger than the outputs of the runs that used it last.
        """
        for path in self.folder.iterdir() if self.folder else ():
            with suppress(FileNotFoundError):  # another run prunes as well
                if path.stat().st_mtime_ns < self.opened_ns:
                    path.unlink()

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.entry"


def open_cache(root: Path | None, stage: str, recipe: Mapping[str, Any]) -> StageCache:
    """The cache of one stage. recipe: parameters, code and versions that decide its results.

    Raises PipelineError when the folder cannot be made.
    """
    folder = None if root is None else root / stage
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(
            f"{VARIABLE}: {folder}: cannot be made ({error.strerror}); name a folder that can be"
            f" written, or {OFF!r}"
        ) from None
    # An entry's layout is this file's own business.
    own = content_digest(__file__)
    return StageCache(folder, _json_digest([own, recipe]))


def content_digest(path: str) -> str:
    """sha256 of a file and its suffix, by which decoders guess the format.

    Empty for an empty path; a file that cannot be read has no digest but a word of its own.
    """
    if not path:
        return ""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() + Path(path).suffix
    except OSError:
        return "unreadable"


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed versions; an empty text for what is not installed."""
    found = {}
    for name in distributions:
        found[name] = ""
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _unpack(entry: ZipFile, prefix: str) -> Any:
    for name in entry.namelist():
        if name != VALUE:
            target = Path(f"{prefix}{name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with entry.open(name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    return json.loads(entry.read(VALUE))


def _mark_used(path: Path) -> None:
    """Set the time by our own clock, which `prune` compares with; a file server has another."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
