"""A `map` over the tasks of a stage on a Ray Data actor pool, in which one task fails by itself.

A task is pickled Python that names files and contains no pixels. Workers write the files
themselves, so all nodes of a cluster need the repository, its data and the stage cache under the
same path on shared storage, and the same Python environment. `local` starts a private Ray on this
machine, on loopback only; any other address is that of a running cluster, used from one of its
machines.
"""

import logging
import os
import pickle
import secrets
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from pipeline.runtime.errors import InstallationError, PipelineError
from pipeline.runtime.portable import PINNED
from pipeline.runtime.progress import tracked
from pipeline.runtime.workers import INPUTS, Result, Task, WorkerMap

LOCAL = "local"
# Rows and results take a few kB each; Ray spills what does not fit to disk.
OBJECT_STORE_BYTES = 150 * 2**20
LISTENER_TIMEOUT_S = 10
# Number of times the row of a killed worker is retried on a new worker.
RETRIES = 2
# Read by pipeline.runtime.packages, pipeline.faces and the libraries that compute; workers of a
# running cluster lack them.
PASSED_ON = ("INSWAPPER_CACHE", "INSWAPPER_PACKAGE_DIR", "INSWAPPER_PACKS", *PINNED)
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# Ray runs its workers at nice 15, at which they get little CPU time next to other processes.
FULL_PRIORITY = {"RAY_worker_niceness": "0"}


@contextmanager
def ray_map(
    address: str, workers: int, lost: Callable[[Task], Result]
) -> Iterator[WorkerMap[Task, Result]]:
    """Yield a `map` on the Ray at this address, or on the one this process is already connected to.

    workers: number of processes of a `local` Ray; a cluster uses one per processor. lost: gives the
    result of a task whose worker died on every attempt. Exceptions of the mapped function are
    re-raised here. Raises InstallationError when Ray is not installed, PipelineError when it cannot
    be reached or its workers cannot start.
    """
    with connected(address, workers):
        yield partial(_map, lost)


@contextmanager
def connected(address: str, workers: int) -> Iterator[None]:
    """Connect to a Ray for one or several maps; an open connection is reused and stays open."""
    for name, value in (QUIET | FULL_PRIORITY | (_private() if address == LOCAL else {})).items():
        os.environ.setdefault(name, value)
    ray = _imported()
    if ray.is_initialized():
        yield
        return
    _require_listener(address)
    local_options = {"num_cpus": workers, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(
            address,
            runtime_env={"env_vars": _worker_environment()},
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(local_options if address == LOCAL else {}),
        )
    except (ConnectionError, ValueError) as error:
        raise PipelineError(f"RAY_ADDRESS: {address!r}: cannot be reached ({error})") from None
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise PipelineError at once if nothing listens at host:port; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), LISTENER_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise PipelineError(f"RAY_ADDRESS: {address!r}: cannot be reached ({error})") from None


def _private() -> dict[str, str]:
    """Environment that keeps other users from submitting work to a private Ray.

    The token is set here because Ray would otherwise write one into the home folder. The second
    variable, despite its name, keeps a node on loopback when it is 0.
    """
    return {
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def _imported() -> Any:
    try:
        import ray
    except ImportError:
        raise InstallationError(
            "RAY_ADDRESS is set but Ray is not installed; pip install -e '.[scale]' or unset it"
        ) from None
    return ray


def _worker_environment() -> dict[str, str]:
    """Environment in which workers import this package, wherever their cluster was started."""
    code = str(Path(__file__).resolve().parents[2])
    paths = [code, *filter(None, [os.environ.get("PYTHONPATH")])]
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed_on, "PYTHONPATH": os.pathsep.join(paths)}


def _map(
    lost: Callable[[Task], Result], function: Callable[[Task], Result], tasks: Sequence[Task]
) -> list[Result]:
    done: dict[int, Result] = {}
    for row in tracked(_rows(function, tasks), len(tasks), INPUTS):
        result, error = pickle.loads(row["result"])
        if error is not None:
            raise error
        done[row["number"]] = result
    return [done[n] if n in done else lost(task) for n, task in enumerate(tasks)]


def _rows(function: Callable[[Task], Any], tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """Numbers and pickled results of the tasks, in the order in which they finish."""
    if not tasks:
        return
    from ray.data import DataContext
    from ray.exceptions import RayError

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Only rows whose worker died raise an error here: _Worker returns every exception.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        with DataContext.current(context):
            yield from _dataset(function, tasks).iter_rows()
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise PipelineError(
            f"RAY_ADDRESS: Ray failed ({reason}); all nodes need this environment and {Path.cwd()}"
        ) from error


def _dataset(function: Callable[[Task], Any], tasks: Sequence[Task]) -> Any:
    """Dataset with one row per block and one block per actor at a time.

    A row that kills its worker then affects no other row.
    """
    from ray.data import ActorPoolStrategy
    from ray.util.annotations import RayDeprecationWarning

    ray = _imported()
    rows = [{"number": n, "task": pickle.dumps(task)} for n, task in enumerate(tasks)]
    actors = min(len(rows), int(ray.cluster_resources().get("CPU", 1)))
    with warnings.catch_warnings():
        # Ray 2.64 removes max_task_retries, whose default is to retry forever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,
            fn_constructor_args=(function, str(Path.cwd())),
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            max_restarts=-1,
            max_task_retries=RETRIES,
        )


class _Worker:
    """Actor: one process, in which the function's cached objects (a detector) persist."""

    def __init__(self, function: Callable[[Any], Any], folder: str) -> None:
        os.chdir(folder)
        cv2.setNumThreads(1)
        self.function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result = pickle.dumps((self.function(pickle.loads(row["task"])), None))
        except Exception as error:
            error.add_note(traceback.format_exc())
            result = pickle.dumps((None, error))
        return {"number": row["number"], "result": result}
