"""Routes POST /detect/video, answered directly or with a job, and /jobs/{job_id}."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from serve import examples
from serve.deps import FILE, AppState, AppStateDep, Heatmap, within_rate
from serve.detector.state import ActiveDetector
from serve.jobs import VideoJob, Work
from serve.problems import RETRY_AFTER_S, Problem, answered, documented, request_id_of
from serve.routes.detect import server_timing
from serve.schemas import JobAnswer, VideoAnswer, model_of, threshold_of, video_members
from serve.video.files import is_video
from serve.video.progress import OnProgress
from serve.web.uploads import DetachedUpload, documented_upload, uploaded

KEEP_ALIVE_S = 10
# Minimum time between two progress events.
EVENT_PAUSE_S = 0.25
# How often a waiting request checks whether its client has disconnected.
DISCONNECT_CHECK_S = 1.0
END_CHECK_S = 0.5
RESPOND_ASYNC = "respond-async"

router = APIRouter()
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobAnswer,
        "description": "The video became a job, because it is long or by `Prefer: respond-async`",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "/jobs/{job_id}"},
            "Preference-Applied": {"schema": {"type": "string"}},
        },
        "content": {"application/json": {"example": examples.JOB_STARTED}},
    }
}
UPLOAD_PROBLEMS = documented(400, 408, 413, 415, 422, 429, 500, 503)
JOB_PROBLEMS = documented(404, 413, 422, 500)
Prefer = Annotated[
    list[str] | None,
    Header(description="respond-async: answer 202 with a job even for a short video (RFC 7240)"),
]


@router.post(
    "/detect/video",
    tags=["detection"],
    dependencies=[Depends(within_rate)],
    response_model=VideoAnswer,
    responses=answered(examples.VIDEO) | ACCEPTED | UPLOAD_PROBLEMS,
    openapi_extra=documented_upload(FILE),
)
async def detect_video(
    request: Request,
    response: Response,
    state: AppStateDep,
    prefer: Prefer = None,
    heatmap: Heatmap = False,
) -> VideoAnswer | JSONResponse:
    """Score a video from a few frames per scene: mean over all frames, and highest scene.

    A short video is answered directly. A long video, a video whose header states no length, and
    any video sent with `Prefer: respond-async` becomes a job, whose URL is in `Location`.
    """
    active = state.service.active
    state.jobs.refuse_if_full()
    async_requested = wants_job(prefer or [])
    async with uploaded(request, FILE, max_files=1) as (stream,):
        with state.jobs.entering():
            upload = DetachedUpload(stream)
            work = partial(_score_video, state, active, upload, request_id_of(request), heatmap)
            job, length_s = await _start(state, upload, request_id_of(request), work)
    if async_requested or not 0 < length_s <= state.service.settings.sync_video_s:
        return _accepted(job, request_id_of(request), async_requested)
    answer = await _answer_now(request, state, job)
    response.headers["Server-Timing"] = server_timing(answer.timing_ms)
    return answer


@router.get("/jobs/{job_id}", tags=["jobs"], responses=answered(examples.JOB) | JOB_PROBLEMS)
def get_job(job_id: str, request: Request, state: AppStateDep) -> JobAnswer:
    """Status and progress of a job, and its result when it is done."""
    return state.jobs.find(job_id).answer(request_id_of(request))


@router.delete("/jobs/{job_id}", tags=["jobs"], status_code=204, responses=JOB_PROBLEMS)
async def delete_job(job_id: str, state: AppStateDep) -> Response:
    """Delete a job and its video; an unfinished job is cancelled."""
    await state.jobs.forget(state.jobs.find(job_id))
    return Response(status_code=204)


@router.get(
    "/jobs/{job_id}/events",
    tags=["jobs"],
    response_class=EventSourceResponse,
    responses=JOB_PROBLEMS
    | {
        200: {
            "description": "`progress` at every change, then one of `done`, `failed`, `cancelled`;"
            " the data of each event is a JobAnswer without `result`",
            "content": {
                "text/event-stream": {"schema": {"type": "string"}, "example": examples.EVENT}
            },
        }
    },
)
async def job_events(job_id: str, request: Request, state: AppStateDep) -> EventSourceResponse:
    """Stream a job's progress as server-sent events; the stream ends early if the service stops."""
    ending = anyio.Event()
    return EventSourceResponse(
        _events(state.jobs.find(job_id), request_id_of(request), ending),
        ping=KEEP_ALIVE_S,
        ping_message_factory=lambda: ServerSentEvent(comment="keep-alive"),
        shutdown_event=ending,
        shutdown_grace_period=2 * END_CHECK_S,
    )


def wants_job(prefer: list[str]) -> bool:
    """Whether the Prefer headers contain respond-async."""
    return RESPOND_ASYNC in (
        preference.partition(";")[0].strip().lower()
        for line in prefer
        for preference in line.split(",")
    )


async def _start(
    state: AppState, upload: DetachedUpload, request_id: str, work: Work
) -> tuple[VideoJob, float]:
    """Start the job, which closes the upload, and return it with the length in the header."""
    try:
        if not is_video(upload.path):
            raise Problem(415, "not a video of a known format")
        length_s = await state.videos.length_s(upload.fd)
    except BaseException:
        upload.close()
        raise
    return state.jobs.start(request_id, work, upload.close), length_s


async def _score_video(
    state: AppState,
    active: ActiveDetector,
    upload: DetachedUpload,
    request_id: str,
    heatmap: bool,
    report: OnProgress,
) -> VideoAnswer:
    started = time.perf_counter()
    detector = active.detector
    result = await state.videos.score(detector, upload.fd, report)

    def answer() -> VideoAnswer:
        return VideoAnswer(
            request_id=request_id,
            threshold=threshold_of(active),
            model=model_of(active),
            **video_members(result, detector if heatmap else None),
            timing_ms={"total": round(1000 * (time.perf_counter() - started), 2)},
            warnings=[*detector.warnings, *result.warnings],
        )

    # In a thread: with hundreds of seam maps this takes long enough to delay other requests.
    video_answer = await asyncio.to_thread(answer)
    state.metrics.count_video(video_answer)
    return video_answer


def _accepted(job: VideoJob, request_id: str, async_requested: bool) -> JSONResponse:
    headers = {"Location": f"/jobs/{job.job_id}"}
    if async_requested:
        headers["Preference-Applied"] = RESPOND_ASYNC
    return JSONResponse(job.answer(request_id).model_dump(mode="json"), 202, headers)


async def _answer_now(request: Request, state: AppState, job: VideoJob) -> VideoAnswer:
    """Wait for a job's result and delete the job.

    Raises its problem, or Problem 503 when the job stays in the queue for too long.
    """
    deadline_s = state.service.settings.deadline_s
    try:
        try:
            async with asyncio.timeout(deadline_s):
                while job.status == "queued":
                    await _change(request, job)
        except TimeoutError:
            raise _unavailable(f"timed out after {deadline_s:g} s in the queue") from None
        while not job.ended:
            await _change(request, job)
    finally:
        await state.jobs.forget(job)
    if job.result is not None:
        return job.result
    raise job.problem or _unavailable("the service is shutting down")


async def _change(request: Request, job: VideoJob) -> None:
    """Wait until the job changes, for one second at most.

    Raises Problem 400 when the client has disconnected.
    """
    try:
        async with asyncio.timeout(DISCONNECT_CHECK_S):
            await job.changed.wait()
    except TimeoutError:
        if await request.is_disconnected():
            raise Problem(400, "the client disconnected") from None


def _unavailable(detail: str) -> Problem:
    return Problem(503, detail, retry_after_s=RETRY_AFTER_S)


async def _events(
    job: VideoJob, request_id: str, ending: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    while not job.ended:
        changed = job.changed
        yield _event("progress", job, request_id)
        await asyncio.sleep(EVENT_PAUSE_S)
        while not changed.is_set():
            # An open stream would keep the service from shutting down.
            if ending.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), END_CHECK_S)
    yield _event(job.status, job, request_id)


def _event(name: str, job: VideoJob, request_id: str) -> ServerSentEvent:
    return ServerSentEvent(
        event=name, data=job.answer(request_id).model_dump_json(exclude={"result"})
    )
