"""POST /detect and /detect/batch."""

import asyncio
import time
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Request

from pipeline.errors import DecodeError
from serve.images import decode_picture
from serve.jobs import Jobs
from serve.lane import Lane
from serve.problems import Problem, documented, problem_of, request_id_of
from serve.schemas import (
    BatchAnswer,
    BatchItem,
    DetectAnswer,
    ImageFacts,
    PictureAnswer,
    model_of,
    picture_members,
    threshold_of,
)
from serve.state import InForce, ServiceState
from serve.uploads import documented_upload, uploaded
from serve.video_desk import VideoDesk

FILE = "file"
FILES = "files"

router = APIRouter(tags=["detection"])


class Workplace:
    """Where requests are answered: the inference lane, the desk for videos and their jobs."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self.lane = Lane(state.settings.queue_length, state.settings.deadline_s)
        self.videos = VideoDesk(state.settings, self.lane)
        self.jobs = Jobs(state.settings.max_jobs, state.settings.job_ttl_s)

    async def close(self) -> None:
        await self.jobs.close()
        self.lane.close()


def workplace(request: Request) -> Workplace:
    """The workplace that the app's lifespan made."""
    found = request.app.state.workplace
    assert isinstance(found, Workplace)
    return found


Place = Annotated[Workplace, Depends(workplace)]
UPLOAD_PROBLEMS = documented(400, 408, 413, 415, 422, 500, 503)


@router.post("/detect", responses=UPLOAD_PROBLEMS, openapi_extra=documented_upload(FILE))
async def detect(request: Request, place: Place) -> DetectAnswer:
    """Judge the faces of one picture; the worst face counts. No face is an answer, not an error."""
    in_force = place.state.in_force
    place.lane.refuse_if_full()
    async with uploaded(request, FILE, max_files=1) as (stream,):
        answer = await judge_upload(place, in_force, stream)
    return DetectAnswer(
        request_id=request_id_of(request),
        threshold=threshold_of(in_force),
        model=model_of(in_force),
        **dict(answer),
    )


@router.post(
    "/detect/batch",
    responses=UPLOAD_PROBLEMS,
    openapi_extra=documented_upload(FILES, several=True),
)
async def detect_batch(request: Request, place: Place) -> BatchAnswer:
    """Judge several pictures, each by itself; 422 when none of them can be used."""
    in_force = place.state.in_force
    place.lane.refuse_if_full()
    async with uploaded(request, FILES, place.state.settings.max_batch_files) as streams:
        items = [await _item(place, in_force, *numbered) for numbered in enumerate(streams)]
    if all(item.result is None for item in items):
        listed = [item.model_dump(exclude={"result"}) for item in items]
        raise Problem(422, "none of the files can be used", items=listed)
    return BatchAnswer(
        request_id=request_id_of(request),
        threshold=threshold_of(in_force),
        model=model_of(in_force),
        items=items,
    )


async def judge_upload(place: Workplace, in_force: InForce, stream: BinaryIO) -> PictureAnswer:
    """Decode a picture beside the lane, judge it in the lane. Raises DecodeError or the 503."""
    started = time.perf_counter()
    async with place.lane.place():
        entered = time.perf_counter()
        picture = await asyncio.to_thread(
            decode_picture, stream, place.state.settings.max_image_pixels
        )
        decoded = time.perf_counter()
        timed = await place.lane.run(lambda: in_force.detector.judge_picture(picture.rgb))
    queue_ms = 1000 * (entered - started) + timed.queue_ms
    return PictureAnswer(
        **picture_members(timed.value),
        image=ImageFacts(
            width_px=picture.rgb.shape[1],
            height_px=picture.rgb.shape[0],
            format=picture.file_format,
            orientation=picture.orientation,
        ),
        timing_ms={
            "decode": round(1000 * (decoded - entered), 2),
            "queue": round(queue_ms, 2),
            "inference": round(timed.compute_ms, 2),
            "total": round(1000 * (time.perf_counter() - started), 2),
        },
        warnings=[*in_force.detector.warnings, *picture.warnings, *timed.value.warnings],
    )


async def _item(place: Workplace, in_force: InForce, index: int, stream: BinaryIO) -> BatchItem:
    try:
        answer = await judge_upload(place, in_force, stream)
    except DecodeError as error:
        problem = problem_of(error)
        return BatchItem(index=index, status=problem.status_code, error=problem.detail)
    return BatchItem(index=index, status=200, result=answer)
