"""Stages on Ray: not needed, not installed, not reachable, and on a running cluster."""

import os
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.imports import ROOT
from tests.support.local_ray import START_S, Files, files_below, folder_of_ray
from tests.support.service_process import free_port
from tests.support.synthetic import write_data_root

pytestmark = pytest.mark.usefixtures("in_tmp_path")


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    with folder_of_ray() as folder:
        yield folder


# None in sys.modules makes an import fail as if the package were not installed.
RUN_WITHOUT_RAY = (
    "import runpy, sys; sys.modules['ray'] = None;"
    "runpy.run_module('stages.extract_frames', run_name='__main__')"
)


@pytest.fixture
def listed(in_tmp_path: Path) -> None:
    """A small data root with its manifests."""
    write_data_root(Path("data/sample"), people=2, scenes=1)
    shutil.copy(ROOT / "params.yaml", in_tmp_path)
    run_python("-m", "stages.list_inputs", check=True)


def environment(**variables: str) -> dict[str, str]:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"INSWAPPER_WORKERS": "2", "INSWAPPER_STAGE_CACHE": "off"}
    return base | settings | {"PYTHONPATH": str(ROOT)} | variables


def run_python(
    *arguments: str, check: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=check,
        timeout=300,
    )


@pytest.mark.usefixtures("listed")
def test_without_the_variable_ray_is_not_needed() -> None:
    done = run_python("-c", RUN_WITHOUT_RAY, INSWAPPER_WORKERS="1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("listed")
def test_a_missing_ray_is_reported_on_one_line() -> None:
    done = run_python("-c", RUN_WITHOUT_RAY, RAY_ADDRESS="local")
    assert (done.returncode, done.stderr) == (
        2,
        "RAY_ADDRESS is set but Ray is not installed; pip install -e '.[scale]' or unset it\n",
    )


@pytest.mark.slow
@pytest.mark.usefixtures("listed", "ray_folder")
@pytest.mark.parametrize(
    "address", ["auto", "nonsense", "127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:²"]
)
def test_an_unreachable_ray_is_reported_on_one_line(address: str) -> None:
    done = run_python("-m", "stages.extract_frames", RAY_ADDRESS=address)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"RAY_ADDRESS: '{address}': cannot be reached (")


@pytest.mark.slow
@pytest.mark.usefixtures("listed")
def test_a_cluster_that_was_started_elsewhere(ray_folder: Path, tmp_path: Path) -> None:
    """Its processes were started elsewhere; progress is shown on a terminal."""
    stages = ("extract_frames", "crop_faces")
    for stage in stages:
        run_python("-m", f"stages.{stage}", check=True)
    alone = outputs()
    # Loopback and a token for driver and cluster.
    private = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 32,
        "RAY_TMPDIR": str(ray_folder),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    with running_cluster(tmp_path / "elsewhere", private) as address:
        for stage, rows in zip(stages, ("/3 [", "/7 ["), strict=True):
            assert rows in run_on_terminal(stage, RAY_ADDRESS=address, **private)
    assert outputs() == alone


def outputs() -> Files:
    return files_below("data/frames") | files_below("data/crops") | files_below("data/manifests")


@contextmanager
def running_cluster(home: Path, variables: dict[str, str]) -> Iterator[str]:
    """Yield the address of a one-node cluster on loopback, which is stopped afterwards."""
    home.mkdir()
    address = f"127.0.0.1:{free_port()}"
    options = ("--num-cpus=2", "--object-store-memory=100000000", "--include-dashboard=false")
    command = ("ray", "start", "--head", "--block", "--disable-usage-stats", *options)
    head = subprocess.Popen(
        [*command, f"--port={address.partition(':')[2]}"],
        executable=Path(sys.executable).parent / "ray",
        cwd=home,
        env=environment(PYTHONPATH="", **variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert head.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in head.stdout)
        yield address
    finally:
        processes = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.communicate()
        assert psutil.wait_procs(processes, timeout=START_S)[1] == []


def run_on_terminal(stage: str, **variables: str) -> str:
    """Output of a stage on a terminal."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()
