"""Background jobs that score videos. Jobs are kept in memory and are lost with the process."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.runtime.errors import DecodeError
from serve.problems import INTERNAL_ERROR, RETRY_AFTER_S, Problem, body_of, problem_of
from serve.schemas import JobAnswer, VideoAnswer
from serve.video.progress import JobStatus, OnProgress, VideoProgress

LOG = logging.getLogger("inswapper.serve")
# 128 random bits, because knowing a job's id is enough to read or cancel it.
ID_BYTES = 16

Work = Callable[[OnProgress], Awaitable[VideoAnswer]]


class VideoJob:
    """Job that scores one video.

    request_id: id of the request that uploaded the video. expires_at: when a finished job is
    deleted, on the monotonic clock. changed: event that is set and then replaced at every change of
    status or progress.
    """

    def __init__(self, request_id: str) -> None:
        self.job_id = secrets.token_hex(ID_BYTES)
        self.request_id = request_id
        self.progress = VideoProgress()
        self.status: JobStatus = "queued"
        self.result: VideoAnswer | None = None
        self.problem: Problem | None = None
        self.expires_at: float | None = None
        self.changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self.status not in ("queued", "running")

    def report(self, progress: VideoProgress) -> None:
        self.progress = progress
        self.status = "running"
        self.announce()

    def announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def answer(self, request_id: str) -> JobAnswer:
        """The job's state for the response to the request with this id."""
        left_s = None if self.expires_at is None else self.expires_at - time.monotonic()
        return JobAnswer(
            request_id=request_id,
            job_id=self.job_id,
            status=self.status,
            progress=self.progress.fraction,
            stage=self.progress.stage,
            frames_done=self.progress.frames_done,
            frames_total=self.progress.frames_total,
            expires_in_s=None if left_s is None else round(max(0.0, left_s), 1),
            result=self.result,
            error=None if self.problem is None else body_of(self.problem, self.request_id),
        )


class Jobs:
    """Registry of jobs.

    most: maximum number of unfinished jobs. ttl_s: seconds until a finished job is deleted.
    """

    def __init__(self, most: int, ttl_s: float) -> None:
        self._most = most
        self._ttl_s = ttl_s
        self._jobs: dict[str, VideoJob] = {}
        self._tasks: dict[str, asyncio.Task[VideoAnswer]] = {}
        self._entering = 0

    def refuse_if_full(self) -> None:
        """Raise Problem 503 if no further job is accepted."""
        if len(self._tasks) + self._entering >= self._most:
            detail = f"the video queue is full ({self._most} videos)"
            raise Problem(503, detail, retry_after_s=RETRY_AFTER_S)

    @contextmanager
    def entering(self) -> Iterator[None]:
        """Reserve a slot for a video that is not a job yet. Raises Problem 503 if all are taken."""
        self.refuse_if_full()
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    def start(self, request_id: str, work: Work, cleanup: Callable[[], None]) -> VideoJob:
        """Start the work; `cleanup` is called once at its end, also on failure or cancellation."""
        job = VideoJob(request_id)

        async def run() -> VideoAnswer:
            return await work(job.report)

        def end(task: asyncio.Task[VideoAnswer]) -> None:
            cleanup()
            del self._tasks[job.job_id]
            self._end(job, task)

        # `end` is a callback because a task cancelled before its first step never enters `run`.
        self._tasks[job.job_id] = task = asyncio.create_task(run())
        task.add_done_callback(end)
        self._jobs[job.job_id] = job
        return job

    def find(self, job_id: str) -> VideoJob:
        """The job of this id. Raises Problem 404 if it is unknown, expired or deleted."""
        job = self._jobs.get(job_id)
        if job is None:
            raise Problem(404, "no such job, or it has expired")
        return job

    async def forget(self, job: VideoJob) -> None:
        """Cancel a job if it is unfinished, and delete it with its upload."""
        self._jobs.pop(job.job_id, None)
        await self._cancel([job.job_id])

    async def close(self) -> None:
        """Cancel all unfinished jobs."""
        await self._cancel(list(self._tasks))

    async def _cancel(self, job_ids: list[str]) -> None:
        tasks = [self._tasks[job_id] for job_id in job_ids if job_id in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, job: VideoJob, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            job.status = "cancelled"
        elif (error := task.exception()) is not None:
            job.status, job.problem = "failed", _problem(error, job.request_id)
        else:
            job.status, job.result = "done", task.result()
        progress = job.progress
        fraction = 1.0 if job.status == "done" else progress.fraction
        job.progress = VideoProgress(
            "finished", fraction, progress.frames_done, progress.frames_total
        )
        job.expires_at = time.monotonic() + self._ttl_s
        task.get_loop().call_later(self._ttl_s, self._jobs.pop, job.job_id, None)
        job.announce()


def _problem(error: BaseException, request_id: str) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, DecodeError):
        return problem_of(error)
    LOG.error("the job of request %s failed", request_id, exc_info=error)
    return Problem(500, INTERNAL_ERROR)
