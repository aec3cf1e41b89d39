"""A `map` over the rows of a stage on Ray Data: an actor pool, in which each row may fail alone.

A row is pickled Python that names files, never their pixels; workers write the files themselves, so
all nodes of a cluster need the repository, its data and the stage cache under the same path on
shared storage, the same Python environment and, for the same bytes, the same kind of processor.
`local` starts a Ray of its own on this machine, on loopback alone; other addresses are of a cluster
that runs already, from one of its machines.
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
from tqdm import tqdm

from pipeline.runtime.errors import InstallationError, PipelineError
from pipeline.runtime.workers import Result, Task, WorkerMap

LOCAL = "local"
# Rows and results are some kB each; what does not fit is spilled to the disk.
OBJECT_STORE_BYTES = 150 * 2**20
LISTENER_TIMEOUT_S = 10
# A worker that is killed is replaced, and its row tried again this often.
RETRIES = 2
# Read by pipeline.runtime.packages and pipeline.faces; workers of another cluster lack them.
PASSED_ON = ("INSWAPPER_CACHE", "INSWAPPER_PACKAGE_DIR", "INSWAPPER_PACKS")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# Ray runs its workers at nice 15: beside anything else on the machine they hardly get a turn.
FULL_PRIORITY = {"RAY_worker_niceness": "0"}


@contextmanager
def ray_map(
    address: str, workers: int, lost: Callable[[Task], Result]
) -> Iterator[WorkerMap[Task, Result]]:
    """A `map` on the Ray of this address, or on the one this process is connected to already.

    workers: processes of a `local` Ray; a cluster gets one for each of its processors. lost: the
    result of a task whose worker died each time. What a function raises is raised here.
    Raises InstallationError without Ray; PipelineError when it cannot be reached or its workers
    cannot start.
    """
    with connected(address, workers):
        yield partial(_map, lost)


@contextmanager
def connected(address: str, workers: int) -> Iterator[None]:
    """Connection to a Ray, for one run or several; an open one is used and left open."""
    for name, value in (QUIET | FULL_PRIORITY | (_private() if address == LOCAL else {})).items():
        os.environ.setdefault(name, value)
    ray = _imported()
    if ray.is_initialized():
        yield
        return
    _require_listener(address)
    mine = {"num_cpus": workers, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(
            address,
            runtime_env={"env_vars": _worker_environment()},
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(mine if address == LOCAL else {}),
        )
    except (ConnectionError, ValueError) as error:
        raise PipelineError(f"RAY_ADDRESS: {address!r}: cannot be reached ({error})") from None
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise PipelineError at once where nothing listens at host:port; Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), LISTENER_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise PipelineError(f"RAY_ADDRESS: {address!r}: cannot be reached ({error})") from None


def _private() -> dict[str, str]:
    """Nobody else may give work to a Ray of our own.

    Ray would write the token that it asks for into the home folder. Its name for the other variable
    hides what it does: 0 keeps a node on loopback.
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
    """Workers import this very package, wherever their cluster was started."""
    code = str(Path(__file__).resolve().parents[2])
    paths = [code, *filter(None, [os.environ.get("PYTHONPATH")])]
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed_on, "PYTHONPATH": os.pathsep.join(paths)}


def _map(
    lost: Callable[[Task], Result], function: Callable[[Task], Result], tasks: Sequence[Task]
) -> list[Result]:
    done: dict[int, Result] = {}
    for row in tqdm(_rows(function, tasks), total=len(tasks), unit="row", disable=None):
        result, error = pickle.loads(row["result"])
        if error is not None:
            raise error
        done[row["number"]] = result
    return [done[n] if n in done else lost(task) for n, task in enumerate(tasks)]


def _rows(function: Callable[[Task], Any], tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """The numbers and pickled results of the tasks that were done, as they get done."""
    if not tasks:
        return
    from ray.data import DataContext
    from ray.exceptions import RayError

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Only rows whose worker died: _Worker returns all that is raised.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        with DataContext.current(context):
            yield from _dataset(function, tasks).iter_rows()
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise PipelineError(
            f"RAY_ADDRESS: Ray gave up ({reason}); all nodes need this environment and {Path.cwd()}"
        ) from error


def _dataset(function: Callable[[Task], Any], tasks: Sequence[Task]) -> Any:
    """One row a block and one block at a time an actor: a row that kills takes no other with it."""
    from ray.data import ActorPoolStrategy
    from ray.util.annotations import RayDeprecationWarning

    ray = _imported()
    rows = [{"number": n, "task": pickle.dumps(task)} for n, task in enumerate(tasks)]
    actors = min(len(rows), int(ray.cluster_resources().get("CPU", 1)))
    with warnings.catch_warnings():
        # Ray 2.64 takes max_task_retries away, whose default is to try for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,
            fn_constructor_args=(function, str(Path.cwd())),
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            max_restarts=-1,
            max_task_retries=RETRIES,
        )


class _Worker:
    """An actor: one process, in which what the function keeps (a detector) lasts."""

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
