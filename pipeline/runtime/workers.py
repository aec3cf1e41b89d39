"""Who works on the rows of a stage: this process, several of this machine, or a Ray cluster.

Who it was changes speed and never results: they come in the order of their tasks.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import cv2
from loky import cpu_count

from pipeline.runtime.errors import PipelineError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_in_processes(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], workers: int, chunksize: int = 1
) -> list[ResultT]:
    """The results in the order of the items, from at most `workers` processes.

    One worker or one item needs no other process. chunksize: items that are sent together.
    """
    count = min(workers, len(items))
    if count <= 1:
        return [function(item) for item in items]
    with process_pool(count) as pool:
        return list(pool.map(function, items, chunksize=chunksize))


def process_pool(count: int) -> ProcessPoolExecutor:
    """Processes with OpenCV on one thread each.

    Spawned: a forked one would inherit locks that threads of OpenCV, libav or ONNX Runtime hold.
    """
    return ProcessPoolExecutor(count, get_context("spawn"), cv2.setNumThreads, (1,))


Task = TypeVar("Task")
Result = TypeVar("Result")
WorkerMap = Callable[[Callable[[Task], Result], Sequence[Task]], Iterable[Result]]


@contextmanager
def worker_map(
    workers: int, ray_address: str, lost: Callable[[Task], Result]
) -> Iterator[WorkerMap[Task, Result]]:
    """A `map` over picklable tasks that keeps their order.

    workers: processes (1 or less: this one). ray_address: `local`, `auto` or an address to work on
    Ray instead (pipeline.runtime.ray_map), empty without. lost: the result of a task that Ray gave
    up, since its worker died each time; without Ray a worker that dies ends the run.
    """
    if ray_address:
        from pipeline.runtime.ray_map import ray_map

        with ray_map(ray_address, workers, lost) as run:
            yield run
    elif workers <= 1:
        yield map
    else:
        with process_pool(workers) as pool:
            yield pool.map


def worker_count(variable: str = "INSWAPPER_WORKERS") -> int:
    """Processes to use: the environment variable, else the cores this process may run on (>= 1).

    It changes speed and never results, which is why it is not in params.yaml.
    """
    value = os.environ.get(variable, "")
    if not value:
        return int(cpu_count())
    if not value.isdigit() or int(value) < 1:
        raise PipelineError(f"{variable}: expected a whole number of at least 1, got {value!r}")
    return int(value)


def ray_address() -> str:
    """Where Ray spreads the work of a stage, by Ray's own variable; empty: without Ray."""
    return os.environ.get("RAY_ADDRESS", "")
