"""Settings for all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from loky import cpu_count

from tests.support.synthetic import draw_clip, write_clip

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


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two scenes with a drawn face."""
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_clip(path, draw_clip(2, scenes=2, frames_per_scene=15, face_px=80))
    return path
