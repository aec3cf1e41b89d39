import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.runtime.errors import PackageError
from pipeline.runtime.packages import cache_root, fetch_package, read_member

CONTENT = b"pixels"
OTHER_SHA = "0" * 64


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_wheel(folder: Path) -> Path:
    """The smallest wheel that pip accepts."""
    path = folder / "photo_pack-1.0-py3-none-any.whl"
    info = "photo_pack-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("photo_pack/face.bin", CONTENT)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: photo-pack\nVersion: 1.0\n"
        )
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    return path


def write_tar(folder: Path) -> Path:
    path = folder / "photo_pack-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("photo_pack-1.0/a.txt", b"a"), ("photo_pack-1.0/face.bin", CONTENT)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and pip without an index."""
    monkeypatch.setenv("INSWAPPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INSWAPPER_PACKAGE_DIR", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def test_cache_root_can_be_moved(tmp_path: Path) -> None:
    assert cache_root() == tmp_path / "cache"


def test_pip_fetches_once_and_the_cache_is_used_afterwards(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = sha256(write_wheel(shelf))
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    first = fetch_package("photo-pack==1.0", digest)
    assert sha256(first) == digest
    assert first.is_relative_to(cache_root())
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert fetch_package("photo-pack==1.0", digest) == first


def test_an_archive_that_differs_from_the_pinned_one_is_rejected(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(shelf)
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    with pytest.raises(PackageError, match=r"photo-pack==1\.0: cannot be fetched"):
        fetch_package("photo-pack==1.0", OTHER_SHA)


def test_without_a_network_the_error_names_the_archive_folder() -> None:
    with pytest.raises(PackageError, match=rf"{OTHER_SHA}[\s\S]*INSWAPPER_PACKAGE_DIR"):
        fetch_package("photo-pack==1.0", OTHER_SHA)


def test_an_archive_placed_by_hand_is_found_by_its_sha256(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_tar(shelf)
    (shelf / "photo_pack-0.9.tar.gz").write_bytes(b"older")
    monkeypatch.setenv("INSWAPPER_PACKAGE_DIR", str(shelf))
    assert fetch_package("Photo.Pack==1.0", sha256(archive), sdist=True) == archive


@pytest.mark.parametrize(
    ("write", "member"),
    [(write_wheel, "photo_pack/face.bin"), (write_tar, "photo_pack-1.0/face.bin")],
)
def test_members_are_read_and_checked(shelf: Path, write: object, member: str) -> None:
    assert callable(write)
    archive = write(shelf)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert read_member(archive, member) == CONTENT
    assert read_member(archive, member, digest) == CONTENT
    with pytest.raises(PackageError, match=rf"{digest}, expected {OTHER_SHA}"):
        read_member(archive, member, OTHER_SHA)
    with pytest.raises(PackageError, match=r"no member 'face\.jpg'"):
        read_member(archive, "face.jpg")


@pytest.mark.parametrize("name", ["photo_pack-1.0.tar.gz", "photo_pack-1.0-py3-none-any.whl"])
def test_a_damaged_archive_is_named(shelf: Path, name: str) -> None:
    (shelf / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(PackageError, match=f"{name}: cannot be read as an archive"):
        read_member(shelf / name, "face.bin")
