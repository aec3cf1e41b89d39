"""Bounded queue that runs one inference at a time on all cores, with a deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve.problems import Problem

Result = TypeVar("Result")

# Decoded images are large: keep only as many in memory as the thread needs to stay busy.
MAX_DECODED = 2
# Shorter than serve.problems.RETRY_AFTER_S: images leave the queue within about a second.
QUEUE_RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """A result with its waiting and computing times in milliseconds."""

    value: Result
    queue_ms: float
    compute_ms: float


class InferenceQueue:
    """Inference queue of one worker process. inside: images queued or being processed.

    A request occupies a `slot()` while it is queued and processed; inside the slot, `run` does the
    inference. Batching does not raise throughput on a CPU, and two simultaneous inferences only
    slow each other down.
    """

    def __init__(self, queue_length: int, deadline_s: float) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self.inside = 0
        self._queue_length = queue_length
        self._deadline_s = deadline_s
        self._decoded = asyncio.Semaphore(MAX_DECODED)

    def refuse_if_full(self) -> None:
        """Raise Problem 503 if the queue is full."""
        if self.inside >= self._queue_length:
            raise _busy("the inference queue is full")

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Occupy a slot in the queue, which allows one decoded image in memory.

        Raises Problem 503 when the queue is full or the deadline passes.
        """
        self.refuse_if_full()
        self.inside += 1
        try:
            await self._until_deadline(self._decoded.acquire())
            try:
                yield
            finally:
                self._decoded.release()
        finally:
            self.inside -= 1

    async def run(self, work: Callable[[], Result]) -> Timed[Result]:
        """Run the work in the queue's thread.

        Raises Problem 503 when the deadline passes; work that has not begun is dropped.
        """
        submitted = time.perf_counter()

        def timed() -> Timed[Result]:
            started = time.perf_counter()
            value = work()
            ended = time.perf_counter()
            return Timed(value, 1000 * (started - submitted), 1000 * (ended - started))

        loop = asyncio.get_running_loop()
        return await self._until_deadline(loop.run_in_executor(self.executor, timed))

    async def _until_deadline(self, awaitable: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(awaitable, self._deadline_s)
        except TimeoutError:
            raise _busy(f"timed out after {self._deadline_s:g} s in the queue") from None

    def close(self) -> None:
        """Finish the running inference and drop the queued ones."""
        self.executor.shutdown(wait=True, cancel_futures=True)


def _busy(detail: str) -> Problem:
    return Problem(503, detail, retry_after_s=QUEUE_RETRY_AFTER_S)
