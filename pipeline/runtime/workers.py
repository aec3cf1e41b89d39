"""Maps over the tasks of a stage: in this process, in local processes, or on a Ray cluster.

The choice affects speed, never results, which keep the order of their tasks.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

import cv2
from loky import cpu_count

from pipeline.runtime.errors import PipelineError, WorkerDiedError
from pipeline.runtime.progress import tracked

WORKERS = "INSWAPPER_WORKERS"
# Start of torch's messages about worker processes of a DataLoader.
DATA_LOADER = "DataLoader worker"
# What the tasks of worker_map are, for the progress: videos and images.
INPUTS = "inputs"

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_in_processes(
    function: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    workers: int,
    unit: str = "tasks",
    chunksize: int = 1,
) -> list[ResultT]:
    """Results in the order of the items, computed by at most `workers` processes.

    One worker or one item runs in this process. unit: what the items are, in the plural, for the
    progress. chunksize: number of items sent together.
    """
    count = min(workers, len(items))
    if count <= 1:
        return list(tracked(map(function, items), len(items), unit))
    with process_pool(count) as pool:
        results = pool.map(function, items, chunksize=chunksize)
        return list(tracked(results, len(items), unit))


@contextmanager
def process_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Pool of `count` processes, each with OpenCV on one thread; they end when this process dies.

    They are spawned: a forked process would inherit locks held by threads of OpenCV, libav or ONNX
    Runtime. Raises WorkerDiedError when one of them is killed.
    """
    with clear_worker_errors(), ProcessPoolExecutor(count, get_context("spawn"), _init) as pool:
        yield pool


@contextmanager
def clear_worker_errors() -> Iterator[None]:
    """Raise WorkerDiedError when a worker process of a pool or of a DataLoader was killed."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, BrokenProcessPool) and not str(error).startswith(DATA_LOADER):
            raise
        raise WorkerDiedError(
            f"a worker process was killed, most likely because memory ran out ({error});"
            f" {WORKERS}=1 uses one process, which needs less memory"
        ) from error


def _init() -> None:
    """Set up a worker process."""
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the death of the parent process, whose worker would otherwise write further files.

    A pool ends its workers, but nothing does after the parent was killed.
    """
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


Task = TypeVar("Task")
Result = TypeVar("Result")
WorkerMap = Callable[[Callable[[Task], Result], Sequence[Task]], Iterable[Result]]


@contextmanager
def worker_map(
    workers: int, ray_address: str, lost: Callable[[Task], Result]
) -> Iterator[WorkerMap[Task, Result]]:
    """Yield a `map` over picklable tasks, of one input each, that keeps their order.

    workers: number of processes (1 or less: this process). ray_address: `local`, `auto` or an
    address to use Ray instead (pipeline.runtime.ray_map), empty for no Ray. lost: gives the result
    of a task whose worker died on every attempt on Ray; without Ray, a dying worker ends the run.
    """
    if ray_address:
        from pipeline.runtime.ray_map import ray_map

        with ray_map(ray_address, workers, lost) as run:
            yield run
    elif workers <= 1:
        yield partial(_tracked, map)
    else:
        with process_pool(workers) as pool:
            yield partial(_tracked, pool.map)


def _tracked(
    run: WorkerMap[Task, Result], function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    return tracked(run(function, tasks), len(tasks), INPUTS)


def worker_count() -> int:
    """Number of processes, >= 1: the environment variable, else the cores available to this one.

    It is not in params.yaml because it affects speed, never results. Raises PipelineError when the
    variable is not a positive integer.
    """
    value = os.environ.get(WORKERS, "")
    if not value:
        return int(cpu_count())
    try:
        count = int(value)
    except ValueError:
        count = 0
    if count < 1:
        raise PipelineError(f"{WORKERS}: expected a whole number of at least 1, got {value!r}")
    return count


def ray_address() -> str:
    """Address of the Ray that runs a stage, from Ray's own variable; empty for no Ray."""
    return os.environ.get("RAY_ADDRESS", "")
