"""POST /detect, /detect/batch and /detect/video."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Request

from pipeline.errors import DecodeError
from serve.images import decode_picture
from serve.lane import Lane
from serve.problems import Problem, documented, problem_of, request_id_of
from serve.schemas import (
    BatchAnswer,
    BatchItem,
    DetectAnswer,
    ImageFacts,
    PictureAnswer,
    VideoAnswer,
    model_of,
    picture_members,
    threshold_of,
    video_members,
)
from serve.state import InForce, ServiceState
from serve.uploads import documented_upload, on_disk, uploaded
from serve.video_files import is_video
from serve.videos import judge_video

FILE = "file"
FILES = "files"

router = APIRouter(tags=["detection"])


class Workplace:
    """The threads that answer requests: a lane for inference, one for reading videos."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self.lane = Lane(state.settings.queue_length, state.settings.deadline_s)
        self.video_reader = ThreadPoolExecutor(1, thread_name_prefix="video")
        self.video_free = asyncio.Lock()

    def close(self) -> None:
        self.video_reader.shutdown(wait=True, cancel_futures=True)
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


@router.post("/detect/video", responses=UPLOAD_PROBLEMS, openapi_extra=documented_upload(FILE))
async def detect_video(request: Request, place: Place) -> VideoAnswer:
    """Judge a short video: six frames a scene, their mean, and the highest scene beside it."""
    in_force = place.state.in_force
    _refuse_second_video(place)
    async with uploaded(request, FILE, max_files=1) as (stream,):
        _refuse_second_video(place)
        async with place.video_free:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                place.video_reader, _video_answer, place, in_force, stream, request_id_of(request)
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


def _video_answer(
    place: Workplace, in_force: InForce, stream: BinaryIO, request_id: str
) -> VideoAnswer:
    """Runs in the video thread; each frame takes its turn in the lane among the pictures."""
    started = time.perf_counter()
    settings = place.state.settings
    short = settings.model_copy(
        update={"max_video_s": min(settings.max_video_s, settings.sync_video_s)}
    )
    with on_disk(stream) as path:
        if not is_video(path):
            raise Problem(415, "not a video of a known format")
        result = judge_video(in_force.detector, path, short, place.lane.executor, workers=1)
    return VideoAnswer(
        request_id=request_id,
        threshold=threshold_of(in_force),
        model=model_of(in_force),
        **video_members(result),
        timing_ms={"total": round(1000 * (time.perf_counter() - started), 2)},
        warnings=[*in_force.detector.warnings, *result.warnings],
    )


def _refuse_second_video(place: Workplace) -> None:
    if place.video_free.locked():
        raise Problem(503, "another video is being judged", retry_after_s=5)
