"""pipeline.runtime.workers: order, exceptions and deaths, in this process and in others."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.runtime.errors import WorkerDiedError
from pipeline.runtime.workers import clear_worker_errors, map_in_processes, worker_map
from tests.support.imports import ROOT


def squared_where(number: int) -> tuple[int, int]:
    if number < 0:
        raise ValueError(f"expected at least 0, got {number}")
    return number**2, os.getpid()


@pytest.mark.parametrize("chunksize", [1, 3])
def test_results_keep_the_order_of_the_items(chunksize: int) -> None:
    found = map_in_processes(squared_where, range(7), 2, chunksize=chunksize)
    assert [square for square, _ in found] == [0, 1, 4, 9, 16, 25, 36]
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize(("items", "workers"), [(range(3), 1), (range(1), 4), (range(0), 4)])
def test_one_worker_or_one_item_uses_no_other_process(items: range, workers: int) -> None:
    found = map_in_processes(squared_where, items, workers)
    assert found == [(number**2, os.getpid()) for number in items]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_a_call_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="got -1"):
        map_in_processes(squared_where, [1, -1, 2], workers)


def killed_where(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_one_clear_line() -> None:
    """As by the system when memory runs out."""
    expected = r"a worker process was killed.*memory ran out.*INSWAPPER_WORKERS=1 uses one process"
    with pytest.raises(WorkerDiedError, match=expected):
        map_in_processes(killed_where, range(4), 2)
    with pytest.raises(WorkerDiedError, match=expected), worker_map(2, "", str) as run:
        list(run(killed_where, range(4)))


def test_other_errors_of_a_pool_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^shape mismatch$"), clear_worker_errors():
        raise RuntimeError("shape mismatch")


ENDLESS = """
import sys, time
from pathlib import Path
from pipeline.runtime.workers import map_in_processes

def write(number):
    while True:
        (Path(sys.argv[1]) / str(number)).write_text(str(time.monotonic_ns()))
        time.sleep(0.01)

if __name__ == "__main__":
    map_in_processes(write, range(2), 2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_killed_parent(tmp_path: Path, signal_number: int) -> None:
    """Otherwise they would write into the folders of the next run."""
    (tmp_path / "endless.py").write_text(ENDLESS, encoding="utf-8")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "endless.py", "out"]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL)
    workers: list[psutil.Process] = []
    try:
        while len(list((tmp_path / "out").iterdir())) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert len(workers) >= 2
        parent.send_signal(signal_number)
        parent.wait()
        assert psutil.wait_procs(workers, timeout=10)[1] == []
    finally:
        parent.kill()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
