"""Who works on the rows of a stage: this process, several of this machine, or a Ray cluster.

Who it was changes speed and never results: they come in the order of their tasks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pipeline.processes import process_pool

Task = TypeVar("Task")
Result = TypeVar("Result")
WorkerMap = Callable[[Callable[[Task], Result], Sequence[Task]], Iterable[Result]]


@contextmanager
def worker_map(
    workers: int, ray_address: str, lost: Callable[[Task], Result]
) -> Iterator[WorkerMap[Task, Result]]:
    """A `map` over picklable tasks that keeps their order.

    workers: processes (1 or less: this one). ray_address: `local`, `auto` or an address to work on
    Ray instead (pipeline.ray_map), empty without. lost: the result of a task that Ray gave up,
    since its worker died each time; without Ray a worker that dies ends the run.
    """
    if ray_address:
        from pipeline.ray_map import ray_map

        with ray_map(ray_address, workers, lost) as run:
            yield run
    elif workers <= 1:
        yield map
    else:
        with process_pool(workers) as pool:
            yield pool.map
