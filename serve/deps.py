"""What the routes share: the parts that answer requests, and their query parameters."""

from typing import Annotated

from fastapi import Depends, Query, Request

from serve.detector.lane import Lane
from serve.detector.state import ServiceState
from serve.jobs import Jobs
from serve.video.desk import VideoDesk
from serve.web.metrics import Metrics
from serve.web.rates import RateLimit

FILE = "file"

FILES = "files"


class Workplace:
    """Where requests are answered: the lane for inference, the desk for videos, jobs and counts."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self.lane = Lane(state.settings.queue_length, state.settings.deadline_s)
        self.metrics = Metrics(state, self.lane)
        self.rate = RateLimit(state.settings.rate_per_minute)
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

Heatmap = Annotated[bool, Query(description="Add the seam map of each face to the answer.")]


async def within_rate(request: Request, place: Place) -> None:
    """Raises the problem 429, before anything of the body is read."""
    await place.rate.admit(request)
