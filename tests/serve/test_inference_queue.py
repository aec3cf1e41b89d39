"""serve.detector.inference_queue: one inference at a time, bounded length, deadline."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from serve.detector.inference_queue import InferenceQueue, Timed
from serve.problems import Problem


def with_queue(
    scenario: Callable[[InferenceQueue], Coroutine[Any, Any, None]],
    *,
    slots: int = 8,
    deadline_s: float = 5,
) -> None:
    async def play() -> None:
        inference_queue = InferenceQueue(slots, deadline_s)
        try:
            await scenario(inference_queue)
        finally:
            inference_queue.close()

    asyncio.run(play())


def test_work_is_done_one_at_a_time_in_order() -> None:
    running, seen = 0, []

    def work(number: int) -> int:
        nonlocal running
        running += 1
        seen.append((number, running))
        threading.Event().wait(0.005)
        running -= 1
        return number

    async def scenario(inference_queue: InferenceQueue) -> None:
        timed = await asyncio.gather(*(inference_queue.run(lambda n=n: work(n)) for n in range(5)))
        assert [t.value for t in timed] == [0, 1, 2, 3, 4]
        assert timed[4].queue_ms > timed[0].queue_ms
        assert all(t.compute_ms >= 4 for t in timed)

    with_queue(scenario)
    assert seen == [(n, 1) for n in range(5)]


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario(inference_queue: InferenceQueue) -> None:
        async with inference_queue.slot(), inference_queue.slot():
            with pytest.raises(Problem) as caught:
                inference_queue.refuse_if_full()
            assert caught.value.status_code == 503
            assert caught.value.headers == {"Retry-After": "1"}
            with pytest.raises(Problem):
                async with inference_queue.slot():
                    pass
        inference_queue.refuse_if_full()
        assert inference_queue.inside == 0

    with_queue(scenario, slots=2)


def test_waiting_beyond_the_deadline_is_refused_and_the_slot_is_free_again() -> None:
    async def scenario(inference_queue: InferenceQueue) -> None:
        async with inference_queue.slot(), inference_queue.slot():
            with pytest.raises(Problem, match=r"timed out after .* in the queue"):
                async with inference_queue.slot():
                    pass
        assert inference_queue.inside == 0
        async with inference_queue.slot():
            assert (await inference_queue.run(lambda: 7)).value == 7

    with_queue(scenario, deadline_s=0.05)


def test_work_that_did_not_begin_by_the_deadline_is_dropped() -> None:
    release, begun = threading.Event(), []

    async def scenario(inference_queue: InferenceQueue) -> None:
        with pytest.raises(Problem):
            await inference_queue.run(lambda: release.wait(2))
        with pytest.raises(Problem):
            await inference_queue.run(lambda: begun.append(1))
        release.set()
        assert (await inference_queue.run(lambda: 7)).value == 7

    with_queue(scenario, deadline_s=0.05)
    assert begun == []


def test_errors_of_the_work_come_back() -> None:
    async def scenario(inference_queue: InferenceQueue) -> None:
        with pytest.raises(ZeroDivisionError):
            await inference_queue.run(lambda: 1 // 0)

    with_queue(scenario)


def test_waiting_and_work_are_measured_separately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitted at 1 s, begun at 1.25 s, done at 2 s by a clock of the test."""
    clock = SimpleNamespace(perf_counter=iter([1.0, 1.25, 2.0]).__next__)
    monkeypatch.setattr("serve.detector.inference_queue.time", clock)

    async def scenario(inference_queue: InferenceQueue) -> None:
        assert await inference_queue.run(lambda: 7) == Timed(7, queue_ms=250, compute_ms=750)

    with_queue(scenario)


def test_a_closed_queue_ends_what_runs_and_drops_what_waits() -> None:
    begun, done, dropped = threading.Event(), [], []

    def running() -> None:
        begun.set()
        threading.Event().wait(0.05)
        done.append(1)

    inference_queue = InferenceQueue(8, 5)
    inference_queue.executor.submit(running)
    inference_queue.executor.submit(dropped.append, 1)
    begun.wait(5)
    inference_queue.close()
    assert (done, dropped) == ([1], [])
