"""serve.video.videos.map_in_order: order, limit of pending calls, and errors."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.video.videos import map_in_order


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


def test_results_keep_the_order_of_the_items(pool: ThreadPoolExecutor) -> None:
    first_may_end = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            first_may_end.wait(5)
        elif item == 2:
            first_may_end.set()
        return item * item

    assert list(map_in_order(pool, slow_first, range(9), ahead=3)) == [k * k for k in range(9)]


def test_no_more_than_ahead_items_are_drawn(pool: ThreadPoolExecutor) -> None:
    drawn = []

    def items() -> Iterator[int]:
        for item in range(10):
            drawn.append(item)
            yield item

    results = map_in_order(pool, str, items(), ahead=4)
    assert next(results) == "0"
    assert drawn == [0, 1, 2, 3]


def test_an_error_surfaces_in_its_place(pool: ThreadPoolExecutor) -> None:
    results = map_in_order(pool, lambda item: 6 // item, [3, 2, 0, 1], ahead=2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_nothing_gives_nothing(pool: ThreadPoolExecutor) -> None:
    assert list(map_in_order(pool, str, [], ahead=2)) == []
