"""One inference at a time with all cores, a bounded queue before it, and a deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve.problems import Problem

Result = TypeVar("Result")

# Decoded images are large, so only as many are held as keep the thread busy.
DECODED_AT_ONCE = 2
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """A result, and how long it waited and was worked on, in milliseconds."""

    value: Result
    queue_ms: float
    compute_ms: float


class InferenceQueue:
    """The queue of one worker process.

    A request holds a slot from `slot()` while it is queued and processed; within it, `run` does the
    inference. Batching would not raise throughput on a CPU, and two inferences at the same time
    only slow each other down.
    """

    def __init__(self, queue_length: int, deadline_s: float) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self.inside = 0
        self._queue_length = queue_length
        self._deadline_s = deadline_s
        self._decoded = asyncio.Semaphore(DECODED_AT_ONCE)

    def refuse_if_full(self) -> None:
        """Raise the 503 problem when every place is taken."""
        if self.inside >= self._queue_length:
            raise _busy("every place in the queue is taken")

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A slot in the queue and the right to hold a decoded image.

        Raises the 503 problem when the queue is full or the deadline passes.
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
        """Do the work in the queue's thread.

        Raises the 503 problem when the deadline passes; work that has not begun is dropped then.
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
            raise _busy(f"no turn came within {self._deadline_s:g} s") from None

    def close(self) -> None:
        """Let the running inference end and drop those that wait."""
        self.executor.shutdown(wait=True, cancel_futures=True)


def _busy(detail: str) -> Problem:
    return Problem(503, detail, retry_after_s=RETRY_AFTER_S)
