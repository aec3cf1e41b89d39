"""Files that appear whole or not at all, names that fit, and JSON with stable bytes."""

import hashlib
import json
import math
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

# Longest name of a file or folder that file systems accept.
NAME_BYTES: Final = 255
# Longest relative path; macOS accepts 1,024 bytes in all, Linux 4,096.
PATH_BYTES: Final = 900


def fitting_path(path: str) -> str:
    """A relative path that every file system accepts, for a folder that is named after user data.

    A path with a name above 255 bytes, or above 900 bytes in all, becomes one name: its start and
    16 hexadecimal digits of its digest, which keep it unique. Any other path stays as it is.
    """
    sizes = [len(name.encode()) for name in path.split("/")]
    if max(sizes) <= NAME_BYTES and len(path.encode()) <= PATH_BYTES:
        return path
    digest = hashlib.sha256(path.encode()).hexdigest()[:16]
    start = path.replace("/", "_").encode()[: NAME_BYTES - len(digest) - 1]
    return f"{start.decode(errors='ignore')}-{digest}"


@contextmanager
def replacing(path: Path, *, unique: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write; rename it to `path` on success.

    Creates the parent folder. An error removes the sibling and leaves an earlier `path` as it was.
    The sibling is `<name>.tmp`; unique gives it a random name, for a file that several processes
    may write at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = f".{secrets.token_hex(8)}.tmp" if unique else ".tmp"
    temporary = path.with_name(path.name + suffix)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling folder to fill; it takes the place of `path` on success.

    An error removes the sibling and leaves an earlier `path` as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def to_json(data: Any) -> str:
    """JSON text with sorted keys, two spaces, six significant digits and a final newline.

    Raises ValueError for NaN and infinity, which JSON cannot represent.
    """
    return json.dumps(_rounded(data), indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, data: Any) -> None:
    """Write `to_json(data)`, replacing an earlier file. Raises ValueError as `to_json` does."""
    text = to_json(data)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def six_digits(value: float) -> float:
    """The value rounded as files contain it, to six significant digits."""
    return float(f"{value:.6g}")


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    if isinstance(data, float) and math.isfinite(data):
        return six_digits(data)
    return data
