"""What the routes share: the parts that answer requests, and their query parameters."""

from typing import Annotated

from fastapi import Depends, Query, Request

from serve.detector.inference_queue import InferenceQueue
from serve.detector.state import ServiceState
from serve.jobs import Jobs
from serve.video.queue import VideoQueue
from serve.web.metrics import Metrics
from serve.web.rates import RateLimit

FILE = "file"

FILES = "files"


class AppState:
    """Shared by all requests: active detector, queues for images and videos, jobs, metrics."""

    def __init__(self, service: ServiceState) -> None:
        self.service = service
        self.inference_queue = InferenceQueue(
            service.settings.queue_length, service.settings.deadline_s
        )
        self.metrics = Metrics(service, self.inference_queue)
        self.rate = RateLimit(service.settings.rate_per_minute)
        self.videos = VideoQueue(service.settings, self.inference_queue)
        self.jobs = Jobs(service.settings.max_jobs, service.settings.job_ttl_s)

    async def close(self) -> None:
        await self.jobs.close()
        self.inference_queue.close()


def app_state(request: Request) -> AppState:
    """The state that the app's lifespan made."""
    found = request.app.state.inswapper
    assert isinstance(found, AppState)
    return found


AppStateDep = Annotated[AppState, Depends(app_state)]

Heatmap = Annotated[bool, Query(description="Add the seam map of each face to the answer.")]


async def within_rate(request: Request, state: AppStateDep) -> None:
    """Raises the problem 429, before anything of the body is read."""
    await state.rate.admit(request)
