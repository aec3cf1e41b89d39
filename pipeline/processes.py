"""A function applied to many items by several processes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2

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
