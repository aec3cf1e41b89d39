"""Videos that are judged apart from a request. Jobs are kept in memory and end with the process."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.runtime.errors import DecodeError
from serve.problems import RETRY_AFTER_S, Problem, body_of, problem_of
from serve.schemas import JobAnswer, VideoAnswer
from serve.video.progress import JobStatus, Progress, Report

LOG = logging.getLogger("inswapper.serve")
# 128 random bits: who knows a job's id may see it and end it.
ID_BYTES = 16

Work = Callable[[Report], Awaitable[VideoAnswer]]


class Job:
    """One video. changed: set, and replaced, at every change of status or progress."""

    def __init__(self, request_id: str) -> None:
        """request_id: of the request that brought the video."""
        self.job_id = secrets.token_hex(ID_BYTES)
        self.request_id = request_id
        self.progress = Progress()
        self.status: JobStatus = "queued"
        self.result: VideoAnswer | None = None
        self.problem: Problem | None = None
        self.expires_at: float | None = None
        self.changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self.status not in ("queued", "running")

    def report(self, progress: Progress) -> None:
        self.progress = progress
        self.status = "running"
        self.announce()

    def announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def answer(self, request_id: str) -> JobAnswer:
        """As seen by the request of that id."""
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
    """The registry. most: unfinished jobs at a time. ttl_s: how long an ended one can be seen."""

    def __init__(self, most: int, ttl_s: float) -> None:
        self._most = most
        self._ttl_s = ttl_s
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[VideoAnswer]] = {}
        self._entering = 0

    def refuse_if_full(self) -> None:
        """Raise the 503 problem when no further job can be taken."""
        if len(self._tasks) + self._entering >= self._most:
            detail = f"{self._most} videos are being judged or waiting already"
            raise Problem(503, detail, retry_after_s=RETRY_AFTER_S)

    @contextmanager
    def entering(self) -> Iterator[None]:
        """A place among the unfinished for a video that is no job yet; 503 when there is none."""
        self.refuse_if_full()
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    def start(self, request_id: str, work: Work, cleanup: Callable[[], None]) -> Job:
        """Begin the work; `cleanup` is called once when it has ended, however it does."""
        job = Job(request_id)

        async def run() -> VideoAnswer:
            return await work(job.report)

        def end(task: asyncio.Task[VideoAnswer]) -> None:
            cleanup()
            del self._tasks[job.job_id]
            self._end(job, task)

        # Not in `run`, which a task that is cancelled before its first step never enters.
        self._tasks[job.job_id] = task = asyncio.create_task(run())
        task.add_done_callback(end)
        self._jobs[job.job_id] = job
        return job

    def find(self, job_id: str) -> Job:
        """Raises the 404 problem for ids that are unknown, expired or deleted."""
        job = self._jobs.get(job_id)
        if job is None:
            raise Problem(404, "there is no such job, or it has expired")
        return job

    async def forget(self, job: Job) -> None:
        """End a job, whatever it is doing, and forget it; its upload is gone afterwards."""
        self._jobs.pop(job.job_id, None)
        await self._cancel([job.job_id])

    async def close(self) -> None:
        """End all jobs."""
        await self._cancel(list(self._tasks))

    async def _cancel(self, job_ids: list[str]) -> None:
        tasks = [self._tasks[job_id] for job_id in job_ids if job_id in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, job: Job, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            job.status = "cancelled"
        elif (error := task.exception()) is not None:
            job.status, job.problem = "failed", _problem(error, job.request_id)
        else:
            job.status, job.result = "done", task.result()
        progress = job.progress
        fraction = 1.0 if job.status == "done" else progress.fraction
        job.progress = Progress("finished", fraction, progress.frames_done, progress.frames_total)
        job.expires_at = time.monotonic() + self._ttl_s
        task.get_loop().call_later(self._ttl_s, self._jobs.pop, job.job_id, None)
        job.announce()


def _problem(error: BaseException, request_id: str) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, DecodeError):
        return problem_of(error)
    LOG.error("the job of request %s failed", request_id, exc_info=error)
    return Problem(500, "an error of ours; the log has it under this request_id")
