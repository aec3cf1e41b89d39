"""POST /detect/video, answered at once or as a job, and the routes of such jobs."""

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
from serve.jobs import Job, Work
from serve.problems import RETRY_AFTER_S, Problem, answered, documented, request_id_of
from serve.routes.detect import server_timing
from serve.schemas import JobAnswer, VideoAnswer, model_of, threshold_of, video_members
from serve.video.files import is_video
from serve.video.progress import Report
from serve.web.uploads import HeldUpload, documented_upload, uploaded

KEEP_ALIVE_S = 10
# Events are at least this far apart, however fast the frames are judged.
EVENT_PAUSE_S = 0.25
# How often a request that waits looks whether its client is still there.
DISCONNECT_CHECK_S = 1.0
END_CHECK_S = 0.5
RESPOND_ASYNC = "respond-async"

router = APIRouter()
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobAnswer,
        "description": "The video became a job: it is long, or that was asked for",
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
    Header(description="respond-async: answer 202 with a job, however short the video (RFC 7240)"),
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
    """Judge a video: a few frames a scene, their mean, and the highest scene beside it.

    A short video is answered at once. A long one, one that does not tell its length, and any with
    `Prefer: respond-async` becomes a job, which `Location` names.
    """
    active = state.service.active
    state.jobs.refuse_if_full()
    wished = wants_job(prefer or [])
    async with uploaded(request, FILE, max_files=1) as (stream,):
        with state.jobs.entering():
            upload = HeldUpload(stream)
            work = partial(_judge, state, active, upload, request_id_of(request), heatmap)
            job, length_s = await _start(state, upload, request_id_of(request), work)
    if wished or not 0 < length_s <= state.service.settings.sync_video_s:
        return _accepted(job, request_id_of(request), wished)
    answer = await _answer_now(request, state, job)
    response.headers["Server-Timing"] = server_timing(answer.timing_ms)
    return answer


@router.get("/jobs/{job_id}", tags=["jobs"], responses=answered(examples.JOB) | JOB_PROBLEMS)
def get_job(job_id: str, request: Request, state: AppStateDep) -> JobAnswer:
    """How far a job is, and its result once it is done."""
    return state.jobs.find(job_id).answer(request_id_of(request))


@router.delete("/jobs/{job_id}", tags=["jobs"], status_code=204, responses=JOB_PROBLEMS)
async def delete_job(job_id: str, state: AppStateDep) -> Response:
    """Cancel a job that is not finished and forget it; its video is deleted at once."""
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
            " the data of each is a JobAnswer without its result",
            "content": {
                "text/event-stream": {"schema": {"type": "string"}, "example": examples.EVENT}
            },
        }
    },
)
async def job_events(job_id: str, request: Request, state: AppStateDep) -> EventSourceResponse:
    """Follow a job as server-sent events; the stream ends early when the service ends."""
    ending = anyio.Event()
    return EventSourceResponse(
        _events(state.jobs.find(job_id), request_id_of(request), ending),
        ping=KEEP_ALIVE_S,
        ping_message_factory=lambda: ServerSentEvent(comment="keep-alive"),
        shutdown_event=ending,
        shutdown_grace_period=2 * END_CHECK_S,
    )


def wants_job(prefer: list[str]) -> bool:
    """Whether the Prefer headers hold respond-async."""
    wishes = [wish.partition(";")[0].strip().lower() for line in prefer for wish in line.split(",")]
    return RESPOND_ASYNC in wishes


async def _start(
    state: AppState, upload: HeldUpload, request_id: str, work: Work
) -> tuple[Job, float]:
    """The job that does the work on the upload and closes it, and the length it tells."""
    try:
        if not is_video(upload.path):
            raise Problem(415, "not a video of a known format")
        length_s = await state.videos.length_s(upload.fd)
    except BaseException:
        upload.close()
        raise
    return state.jobs.start(request_id, work, upload.close), length_s


async def _judge(
    state: AppState,
    active: ActiveDetector,
    upload: HeldUpload,
    request_id: str,
    heatmap: bool,
    report: Report,
) -> VideoAnswer:
    started = time.perf_counter()
    detector = active.detector
    result = await state.videos.judge(detector, upload.fd, report)

    def answer() -> VideoAnswer:
        return VideoAnswer(
            request_id=request_id,
            threshold=threshold_of(active),
            model=model_of(active),
            **video_members(result, detector if heatmap else None),
            timing_ms={"total": round(1000 * (time.perf_counter() - started), 2)},
            warnings=[*detector.warnings, *result.warnings],
        )

    # With hundreds of seam maps this takes long enough to be felt by other requests.
    made = await asyncio.to_thread(answer)
    state.metrics.count_video(made)
    return made


def _accepted(job: Job, request_id: str, wished: bool) -> JSONResponse:
    headers = {"Location": f"/jobs/{job.job_id}"}
    if wished:
        headers["Preference-Applied"] = RESPOND_ASYNC
    return JSONResponse(job.answer(request_id).model_dump(mode="json"), 202, headers)


async def _answer_now(request: Request, state: AppState, job: Job) -> VideoAnswer:
    """The result of a job that nobody else hears of. Raises its problem, or 503 without a turn."""
    deadline_s = state.service.settings.deadline_s
    try:
        try:
            async with asyncio.timeout(deadline_s):
                while job.status == "queued":
                    await _change(request, job)
        except TimeoutError:
            raise _unavailable(f"no turn came within {deadline_s:g} s") from None
        while not job.ended:
            await _change(request, job)
    finally:
        await state.jobs.forget(job)
    if job.result is not None:
        return job.result
    raise job.problem or _unavailable("the service is ending")


async def _change(request: Request, job: Job) -> None:
    """Until the job changes, or a moment passes. Raises the 400 problem when nobody waits."""
    try:
        async with asyncio.timeout(DISCONNECT_CHECK_S):
            await job.changed.wait()
    except TimeoutError:
        if await request.is_disconnected():
            raise Problem(400, "the client has left") from None


def _unavailable(detail: str) -> Problem:
    return Problem(503, detail, retry_after_s=RETRY_AFTER_S)


async def _events(job: Job, request_id: str, ending: anyio.Event) -> AsyncIterator[ServerSentEvent]:
    while not job.ended:
        changed = job.changed
        yield _event("progress", job, request_id)
        await asyncio.sleep(EVENT_PAUSE_S)
        while not changed.is_set():
            # An open stream would keep the service from ending.
            if ending.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), END_CHECK_S)
    yield _event(job.status, job, request_id)


def _event(name: str, job: Job, request_id: str) -> ServerSentEvent:
    return ServerSentEvent(
        event=name, data=job.answer(request_id).model_dump_json(exclude={"result"})
    )
