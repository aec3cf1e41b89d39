"""Cache of a stage's results from earlier runs, so that a stage processes only new inputs.

An entry holds the result of one task (the frames of a video, the crops of a frame): hard links to
its files, and a JSON file with their sha256 and a value. Its name is the digest of everything that
decides the result, so an entry is never out of date and restores the bytes that the stage would
write. Entries are stored next to DVC's temporary files and are not outputs, but share the disk
space of the outputs. An output that was changed in place no longer has the digest of its entry,
which is then ignored. Deleting the folder is always safe.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.core.files import replacing
from pipeline.runtime.errors import PipelineError

VARIABLE = "INSWAPPER_STAGE_CACHE"
OFF = "off"
ENTRY = ".entry"


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
        """Link an entry's files to `prefix` + their names and return its value.

        Returns None and writes nothing when the entry does not exist or is damaged.
        """
        if self.folder is None:
            return None
        entry = self.folder / f"{key}{ENTRY}"
        try:
            seal, content = entry.read_bytes().split(b"\n", 1)
            if hashlib.sha256(content).hexdigest().encode() != seal:
                return None
            stored = json.loads(content)
            files = {name: self.folder / f"{key}.{name}" for name in stored["files"]}
            if any(_sha256(path) != stored["files"][name] for name, path in files.items()):
                return None
            for name, path in files.items():
                _link(path, Path(f"{prefix}{name}"))
            _mark_used(entry)
        except (OSError, ValueError):  # no such entry, or it belongs to another user
            return None
        return stored["value"]

    def store(self, key: str, prefix: str, names: Iterable[str], value: Any) -> None:
        """Store links to the files `prefix` + name, and a JSON-serialisable value."""
        if self.folder is None:
            return
        digests = {}
        for name in names:
            path = Path(f"{prefix}{name}")
            digests[name] = _sha256(path)
            _link(path, self.folder / f"{key}.{name}")
        content = json.dumps({"files": digests, "value": value}).encode()
        seal = hashlib.sha256(content).hexdigest().encode()
        with replacing(self.folder / f"{key}{ENTRY}", unique=True) as temporary:
            temporary.write_bytes(seal + b"\n" + content)
            _mark_used(temporary)

    def prune(self) -> None:
        """Delete entries not used since this cache was opened, and leftovers of killed runs.

        This keeps the cache no larger than the outputs of the latest runs.
        """
        if self.folder is None:
            return
        used = {key for key, used_ns in _entries(self.folder) if used_ns >= self.opened_ns}
        for path in list(self.folder.iterdir()):
            if path.suffix == ".tmp" or path.name.partition(".")[0] not in used:
                with suppress(FileNotFoundError):  # another run may prune at the same time
                    # A file that was linked since belongs to another run.
                    if path.stat().st_ctime_ns < self.opened_ns:
                        path.unlink()


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
        return _sha256(Path(path)) + Path(path).suffix
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


def _entries(folder: Path) -> Iterator[tuple[str, int]]:
    """Keys of the entries in a folder, and when they were used last, in ns."""
    for path in folder.glob(f"*{ENTRY}"):
        with suppress(FileNotFoundError):
            yield path.name.removesuffix(ENTRY), path.stat().st_mtime_ns


def _link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where there can be no link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        os.link(source, temporary)
    except OSError:  # another file system or owner, or too many links
        shutil.copyfile(source, temporary)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # replacing a link by one to the same file does nothing


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mark_used(path: Path) -> None:
    """Set the modification time by this machine's clock, which may differ from a file server's."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
