"""Routes POST /detect and /detect/batch."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from fastapi import APIRouter, Depends, Request, Response

from pipeline.runtime.errors import DecodeError
from serve import examples
from serve.deps import FILE, FILES, AppState, AppStateDep, Heatmap, within_rate
from serve.detector.images import decode_image
from serve.detector.state import ActiveDetector
from serve.problems import Problem, answered, documented, problem_of, request_id_of
from serve.schemas import (
    BatchAnswer,
    BatchItem,
    DetectAnswer,
    ImageAnswer,
    ImageFacts,
    image_members,
    model_of,
    threshold_of,
)
from serve.web.uploads import documented_upload, uploaded

router = APIRouter(
    tags=["detection"],
    dependencies=[Depends(within_rate)],
    responses=documented(400, 408, 413, 415, 422, 429, 500, 503),
)


@router.post("/detect", responses=answered(examples.DETECT), openapi_extra=documented_upload(FILE))
async def detect(
    request: Request, response: Response, state: AppStateDep, heatmap: Heatmap = False
) -> DetectAnswer:
    """Score the faces of one image; the verdict is that of its worst face.

    An image without a face gets the verdict `no_face`, not an error.
    """
    active = state.service.active
    state.inference_queue.refuse_if_full()
    async with uploaded(request, FILE, max_files=1) as (stream,):
        answer = await score_upload(state, active, stream, heatmap)
    response.headers["Server-Timing"] = server_timing(answer.timing_ms)
    return DetectAnswer(
        request_id=request_id_of(request),
        threshold=threshold_of(active),
        model=model_of(active),
        **dict(answer),
    )


@router.post(
    "/detect/batch",
    responses=answered(examples.BATCH),
    openapi_extra=documented_upload(FILES, several=True),
)
async def detect_batch(
    request: Request, response: Response, state: AppStateDep, heatmap: Heatmap = False
) -> BatchAnswer:
    """Score several images independently; 422 if none of them can be used."""
    started = time.perf_counter()
    active = state.service.active
    state.inference_queue.refuse_if_full()
    async with uploaded(request, FILES, state.service.settings.max_batch_files) as streams:
        items = [
            await _item(state, active, index, stream, heatmap)
            for index, stream in enumerate(streams)
        ]
    if all(item.result is None for item in items):
        listed = [item.model_dump(exclude={"result"}) for item in items]
        raise Problem(422, "none of the files can be used", items=listed)
    timings = _sum(item.result.timing_ms for item in items if item.result)
    timings["total"] = 1000 * (time.perf_counter() - started)
    response.headers["Server-Timing"] = server_timing(timings)
    return BatchAnswer(
        request_id=request_id_of(request),
        threshold=threshold_of(active),
        model=model_of(active),
        items=items,
    )


def server_timing(timing_ms: Mapping[str, float]) -> str:
    """Value of the Server-Timing header from durations in milliseconds."""
    return ", ".join(f"{name};dur={duration:.2f}" for name, duration in timing_ms.items())


async def score_upload(
    state: AppState, active: ActiveDetector, stream: BinaryIO, heatmap: bool
) -> ImageAnswer:
    """Queue, decode and score an image. Raises DecodeError or Problem 503."""
    started = time.perf_counter()
    async with state.inference_queue.slot():
        entered = time.perf_counter()
        image = await asyncio.to_thread(
            decode_image, stream, state.service.settings.max_image_pixels
        )
        decoded = time.perf_counter()
        timed = await state.inference_queue.run(lambda: active.detector.score_image(image.rgb))
    queue_ms = 1000 * (entered - started) + timed.queue_ms
    answer = ImageAnswer(
        **image_members(timed.value, active.detector if heatmap else None),
        image=ImageFacts(
            width_px=image.rgb.shape[1],
            height_px=image.rgb.shape[0],
            format=image.file_format,
            orientation=image.orientation,
        ),
        timing_ms={
            "decode": round(1000 * (decoded - entered), 2),
            "queue": round(queue_ms, 2),
            "inference": round(timed.compute_ms, 2),
            "total": round(1000 * (time.perf_counter() - started), 2),
        },
        warnings=[*active.detector.warnings, *image.warnings, *timed.value.warnings],
    )
    state.metrics.count_image(answer)
    return answer


async def _item(
    state: AppState, active: ActiveDetector, index: int, stream: BinaryIO, heatmap: bool
) -> BatchItem:
    try:
        answer = await score_upload(state, active, stream, heatmap)
    except DecodeError as error:
        problem = problem_of(error)
        return BatchItem(index=index, status=problem.status_code, error=problem.detail)
    return BatchItem(index=index, status=200, result=answer)


def _sum(timings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for timing in timings:
        for name, duration in timing.items():
            total[name] = total.get(name, 0.0) + duration
    return total
