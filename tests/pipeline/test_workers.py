"""pipeline.runtime.workers: order and exceptions, in this process and in other processes."""

import os

import pytest

from pipeline.runtime.workers import map_in_processes


def squared_where(number: int) -> tuple[int, int]:
    if number < 0:
        raise ValueError(f"expected at least 0, got {number}")
    return number**2, os.getpid()


@pytest.mark.parametrize("chunksize", [1, 3])
def test_results_keep_the_order_of_the_items(chunksize: int) -> None:
    found = map_in_processes(squared_where, range(7), 2, chunksize)
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
