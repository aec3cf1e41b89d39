"""The service: `uvicorn serve.main:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from serve import admin, detect, detect_video
from serve.detect import Place, Workplace
from serve.guard import Guard
from serve.problems import Problem, add_problem_handlers, documented
from serve.settings import Settings, load_settings
from serve.state import RETRY_AFTER_S, ServiceState


def create_app(settings: Settings | None = None) -> FastAPI:
    """settings: None reads the environment when the service starts, and refuses nonsense."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = ServiceState(settings or load_settings())
        app.state.workplace = place = Workplace(state)
        await asyncio.to_thread(state.start)
        yield
        await place.close()

    app = FastAPI(
        title="INSwapper detector",
        version="1",
        lifespan=lifespan,
        # The pages of /docs and /redoc load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, settings=lambda: app.state.workplace.state.settings)
    add_problem_handlers(app)
    app.include_router(detect.router)
    app.include_router(detect_video.router)
    app.include_router(admin.router)
    for path in ("/health", "/v2/health/live"):
        app.add_api_route(path, health, tags=["health"])
    for path in ("/ready", "/v2/health/ready"):
        app.add_api_route(path, ready, tags=["health"], responses=documented(503))
    return app


async def health() -> dict[str, str]:
    """The process answers; neither the model nor the disk is asked."""
    return {"status": "alive"}


async def ready(place: Place) -> dict[str, str]:
    """200 once a verified bundle and the face detector are loaded, else 503 with the reasons."""
    faults = place.state.faults
    if faults:
        raise Problem(503, faults[0], retry_after_s=RETRY_AFTER_S, reasons=faults)
    return {"status": "ready"}


app = create_app()
