"""Settings for all tests."""

import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from loky import cpu_count

from pipeline.runtime.portable import pin_arithmetic

# Tests compute as stages do, whichever module is collected first.
pin_arithmetic()

# A busy machine makes single examples slow; that is no fault of the code.
settings.register_profile("repository", deadline=None)
settings.load_profile("repository")

# A shell's background jobs are deaf to SIGINT, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests run side by side already: threads in each process would only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes of `-n auto`; xdist itself would count the host's cores, whatever the quota."""
    return cpu_count()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude imported modules from garbage collection; it took a fifth of the tests' time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test in its own folder, because manifests contain relative paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two scenes with a drawn face."""
    from tests.support.synthetic import draw_clip, write_clip

    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_clip(path, draw_clip(2, scenes=2, frames_per_scene=15, face_px=80))
    return path


@pytest.fixture(scope="session")
def slow_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 s of 1080p, which take more than a second of processor time to read."""
    from tests.support.slow_videos import write_slow

    path = tmp_path_factory.mktemp("videos") / "slow.mp4"
    write_slow(path)
    return path


@pytest.fixture(scope="session")
def large_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of 4K."""
    from tests.support.slow_videos import write_4k

    path = tmp_path_factory.mktemp("videos") / "large.mp4"
    write_4k(path)
    return path
