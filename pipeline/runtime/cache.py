"""Cache of a stage's results from earlier runs, so that a stage processes only new inputs.

An entry holds the result of one task (the frames of a video, the crops of a frame): a sha256, then
a zip of its files and of a JSON value. Its name is the digest of everything that decides the
result, so an entry is never out of date and restores the bytes that the stage would write. Entries
are stored next to DVC's temporary files and are not outputs; files are copied to and from them, so
changing an output does not change an entry. Deleting the folder is always safe.
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
    """Folder of all stage caches: $INSWAPPER_STAGE_CACHE, else the repository's .dvc/tmp/stages.

    None when the variable is `off`. `dvc exp run --queue` and `--temp` run in a copy below the
    repository's .dvc/tmp and use the repository's entries.
    """
    configured = os.environ.get(VARIABLE, "")
    if configured:
        return None if configured == OFF else Path(configured)
    here = Path.cwd()
    homes = [folder for folder in here.parents if folder.parts[-2:] == (".dvc", "tmp")]
    return (homes[-1] if homes else here / ".dvc" / "tmp") / "stages"


@dataclass(frozen=True)
class StageCache:
    """Cache entries of one stage. Picklable; several processes may write at the same time.

    folder: None when the cache is off. recipe: digest of everything that decides all results of the
    stage. opened_ns: time of opening; `prune` deletes entries unused since then.
    """

    folder: Path | None
    recipe: str
    opened_ns: int = field(default_factory=time.time_ns)

    def key(self, *inputs: Any) -> str:
        """Name of the entry for these inputs (any JSON-serialisable values)."""
        return _json_digest([self.recipe, inputs])

    def restore(self, key: str, prefix: str) -> Any | None:
        """Write an entry's files to `prefix` + their names and return its value.

        Returns None and writes nothing when the entry does not exist or is incomplete.
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
        except OSError:  # no such entry, or it belongs to another user
            return None
        return value

    def store(self, key: str, prefix: str, names: Iterable[str], value: Any) -> None:
        """Store copies of the files `prefix` + name, and a JSON-serialisable value."""
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
        """Delete entries not used since this cache was opened, and leftovers of killed runs.

        This keeps the cache no larger than the outputs of the latest runs.
        """
        for path in self.folder.iterdir() if self.folder else ():
            with suppress(FileNotFoundError):  # another run may prune at the same time
                if path.stat().st_mtime_ns < self.opened_ns:
                    path.unlink()

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.entry"


def open_cache(root: Path | None, stage: str, recipe: Mapping[str, Any]) -> StageCache:
    """Open the cache of one stage. recipe: parameters, code and versions that decide its results.

    root: None turns the cache off. Raises PipelineError when the folder cannot be created.
    """
    folder = None if root is None else root / stage
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(
            f"{VARIABLE}: {folder}: cannot be created ({error.strerror}); set it to a writable"
            f" folder, or to {OFF!r}"
        ) from None
    # This module decides the layout of an entry.
    layout = content_digest(__file__)
    return StageCache(folder, _json_digest([layout, recipe]))


def content_digest(path: str) -> str:
    """sha256 of a file's content, plus its suffix, from which decoders guess the format.

    Empty for an empty path, "unreadable" for a file that cannot be read.
    """
    if not path:
        return ""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() + Path(path).suffix
    except OSError:
        return "unreadable"


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed version of each distribution; an empty string if it is not installed."""
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
    """Set the modification time by this machine's clock, which may differ from a file server's."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
