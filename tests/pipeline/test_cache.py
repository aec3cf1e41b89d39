"""pipeline.runtime.cache: complete entries or none, also with concurrent writers."""

import errno
import hashlib
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from pipeline.core.files import replacing
from pipeline.runtime.cache import (
    StageCache,
    content_digest,
    open_cache,
    stage_cache_root,
    versions,
)
from pipeline.runtime.errors import PipelineError

FILES = {"a.png": b"first image" * 1000, "b.mask.png": b"second"}
VALUE = [{"frame_path": "a.png", "scene": 0, "timestamp_s": 0.1 + 0.2}]


@pytest.fixture
def cache(tmp_path: Path) -> StageCache:
    return open_cache(tmp_path / "stages", "extract_frames", {"params": 1})


def store(cache: StageCache, key: str) -> None:
    work = Path(f"{cache.folder}.work-{os.getpid()}")
    work.mkdir(exist_ok=True)
    for name, content in FILES.items():
        with replacing(work / name) as temporary:  # as stages write their outputs
            temporary.write_bytes(content)
    cache.store(key, f"{work}/", FILES, VALUE)


def restored(cache: StageCache, key: str, target: Path) -> dict[str, bytes] | None:
    """The restored files, None if there is no entry."""
    if cache.restore(key, f"{target}/v1/000_") != VALUE:
        assert not target.exists()
        return None
    return {path.name.removeprefix("000_"): path.read_bytes() for path in target.glob("v1/*")}


def entries(cache: StageCache) -> list[Path]:
    return sorted(cache.folder.glob("*.entry")) if cache.folder else []


def linked(cache: StageCache) -> list[str]:
    assert cache.folder
    return sorted(path.name for path in cache.folder.iterdir() if path.suffix != ".entry")


def test_an_entry_restores_files_and_value(cache: StageCache, tmp_path: Path) -> None:
    key = cache.key("video", 1)
    assert restored(cache, key, tmp_path / "out") is None
    store(cache, key)
    assert restored(cache, key, tmp_path / "out") == FILES
    assert len(entries(cache)) == 1


def test_an_entry_shares_the_disk_space_of_its_files(cache: StageCache, tmp_path: Path) -> None:
    store(cache, "key")
    for folder in ("one", "two"):
        assert restored(cache, "key", tmp_path / folder) == FILES
    assert (tmp_path / "one/v1/000_a.png").samefile(tmp_path / "two/v1/000_a.png")
    assert (tmp_path / "one/v1/000_a.png").stat().st_nlink == 4


def test_files_are_copied_where_they_cannot_be_linked(
    cache: StageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    store(cache, "key")
    assert restored(cache, "key", tmp_path / "out") == FILES
    assert (tmp_path / "out/v1/000_a.png").stat().st_nlink == 1


def test_every_input_is_in_the_key(tmp_path: Path) -> None:
    caches = [open_cache(tmp_path, "stage", {"params": value}) for value in (1, 2)]
    keys = [cache.key(*inputs) for cache in caches for inputs in (("a",), ("b",), ("a", ""))]
    assert len(set(keys)) == 6
    assert open_cache(tmp_path / "elsewhere", "stage", {"params": 1}).key("a") == keys[0]


@pytest.mark.parametrize("place", [0, 70, 100, -40, -1])
@pytest.mark.parametrize("suffix", [".entry", ".a.png"])
def test_a_damaged_entry_is_ignored(
    cache: StageCache, tmp_path: Path, suffix: str, place: int
) -> None:
    store(cache, "key")
    path = Path(f"{cache.folder}/key{suffix}")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert restored(cache, "key", tmp_path / "out") is None
    store(cache, "key")
    assert restored(cache, "key", tmp_path / "out") == FILES


@pytest.mark.parametrize("length", [0, 10, 64, 65, 200])
def test_an_unfinished_entry_is_ignored(cache: StageCache, tmp_path: Path, length: int) -> None:
    store(cache, "key")
    (entry,) = entries(cache)
    entry.write_bytes(entry.read_bytes()[:length])
    assert restored(cache, "key", tmp_path / "out") is None


def test_an_entry_without_one_of_its_files_is_ignored(cache: StageCache, tmp_path: Path) -> None:
    store(cache, "key")
    Path(f"{cache.folder}/key.b.mask.png").unlink()
    assert restored(cache, "key", tmp_path / "out") is None


def test_replacing_or_deleting_an_output_does_not_change_the_entry(
    cache: StageCache, tmp_path: Path
) -> None:
    """Stages and DVC replace their outputs; DVC makes them read-only."""
    store(cache, "key")
    restored(cache, "key", tmp_path / "out")
    with replacing(tmp_path / "out/v1/000_a.png") as temporary:
        temporary.write_bytes(b"changed")
    (tmp_path / "out/v1/000_b.mask.png").chmod(0o444)
    assert restored(cache, "key", tmp_path / "again") == FILES
    shutil.rmtree(tmp_path / "again")
    shutil.rmtree(tmp_path / "out")
    assert restored(cache, "key", tmp_path / "again") == FILES


def test_an_output_changed_in_place_is_not_restored(cache: StageCache, tmp_path: Path) -> None:
    store(cache, "key")
    restored(cache, "key", tmp_path / "out")
    (tmp_path / "out/v1/000_a.png").write_bytes(b"changed")
    assert restored(cache, "key", tmp_path / "again") is None


def test_pruning_keeps_entries_used_since_the_start(cache: StageCache, tmp_path: Path) -> None:
    for key in ("unused", "used"):
        store(cache, key)
    for name in ("killed.tmp", "used.a.png.0123.tmp"):
        (tmp_path / "stages/extract_frames" / name).touch()
    for path in entries(cache):
        os.utime(path, ns=(0, 0))
    later = open_cache(tmp_path / "stages", "extract_frames", {})
    restored(later, "used", tmp_path / "out")
    store(later, "new")
    later.prune()
    assert [path.stem for path in entries(cache)] == ["new", "used"]
    assert linked(cache) == ["new.a.png", "new.b.mask.png", "used.a.png", "used.b.mask.png"]


def test_two_processes_may_write_the_same_entry(cache: StageCache, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(store, [cache] * 20, ["same"] * 20))
    assert (len(entries(cache)), len(linked(cache))) == (1, 2)
    assert restored(cache, "same", tmp_path / "out") == FILES


def test_switched_off(tmp_path: Path) -> None:
    cache = open_cache(None, "stage", {})
    cache.store("key", f"{tmp_path}/", ["absent"], 1)
    assert cache.restore("key", f"{tmp_path}/") is None
    cache.prune()
    assert list(tmp_path.iterdir()) == []


def test_location_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = tmp_path / ".dvc/tmp/exps/standalone/tmpabc"
    experiment.mkdir(parents=True)
    monkeypatch.delenv("INSWAPPER_STAGE_CACHE", raising=False)
    for folder in (tmp_path, experiment):
        monkeypatch.chdir(folder)
        assert stage_cache_root() == tmp_path / ".dvc/tmp/stages"
    monkeypatch.setenv("INSWAPPER_STAGE_CACHE", "elsewhere")
    assert stage_cache_root() == Path("elsewhere")
    monkeypatch.setenv("INSWAPPER_STAGE_CACHE", "off")
    assert stage_cache_root() is None


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        PipelineError, match=r"INSWAPPER_STAGE_CACHE: .*file/stage: cannot be created"
    ):
        open_cache(tmp_path / "file", "stage", {})


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    assert content_digest(str(tmp_path / "a.mp4")) == f"{digest}.mp4"
    # A missing mask file differs from no mask.
    assert content_digest("") != content_digest(str(tmp_path / "absent"))
    assert versions(["numpy", "no-such-package"]).keys() == {"numpy", "no-such-package"}
    assert versions(["no-such-package"]) == {"no-such-package": ""}
