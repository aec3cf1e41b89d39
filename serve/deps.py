"""Dependencies shared by the routes: app state, query parameters and rate limit."""

from typing import Annotated

from fastapi import Depends, Query, Request

from serve.detector.inference_queue import InferenceQueue
from serve.detector.state import ServiceState
from serve.jobs import Jobs
from serve.video.queue import VideoQueue
from serve.web.metrics import ServiceMetrics
from serve.web.rates import RateLimit

# Names of the multipart fields.
FILE = "file"
FILES = "files"


class AppState:
    """State shared by all requests: active detector, image and video queues, jobs, metrics."""

    def __init__(self, service: ServiceState) -> None:
        self.service = service
        self.inference_queue = InferenceQueue(
            service.settings.queue_length, service.settings.deadline_s
        )
        self.metrics = ServiceMetrics(service, self.inference_queue)
        self.rate = RateLimit(service.settings.rate_per_minute)
        self.videos = VideoQueue(service.settings, self.inference_queue)
        self.jobs = Jobs(service.settings.max_jobs, service.settings.job_ttl_s)

    async def close(self) -> None:
        await self.jobs.close()
        self.inference_queue.close()


def app_state(request: Request) -> AppState:
    """The app state created by the app's lifespan."""
    state = request.app.state.inswapper
    assert isinstance(state, AppState)
    return state


AppStateDep = Annotated[AppState, Depends(app_state)]

Heatmap = Annotated[bool, Query(description="Include the seam map of each face.")]


async def within_rate(request: Request, state: AppStateDep) -> None:
    """Count the request before its body is read. Raises Problem 429 beyond the rate limit."""
    await state.rate.admit(request)
