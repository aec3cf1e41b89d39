"""ASGI application of the service: `uvicorn serve.main:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

import serve.untracked  # noqa: F401
from serve import examples
from serve.deps import AppState, AppStateDep
from serve.detector.state import ServiceState
from serve.problems import RETRY_AFTER_S, Problem, add_problem_handlers, answered, documented
from serve.routes import admin, detect, page
from serve.routes import video as detect_video
from serve.settings import Settings, load_settings
from serve.web.access import Access
from serve.web.guard import Guard
from serve.web.lifecycle import PlainStartup, drain_on_sigterm
from serve.web.logs import set_up_logs


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application.

    settings: None reads the environment at startup; invalid values abort startup.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        chosen = settings or load_settings()
        set_up_logs(chosen.log_format)
        state = ServiceState(chosen)
        async with AsyncExitStack() as stack:
            app.state.inswapper = app_state = AppState(state)
            stack.push_async_callback(app_state.close)
            await asyncio.to_thread(state.start)
            stack.enter_context(drain_on_sigterm(state, chosen.drain_s))
            yield

    app = FastAPI(
        title="INSwapper detector",
        version="1",
        lifespan=lifespan,
        # The pages /docs and /redoc load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(PlainStartup)
    app.add_middleware(Guard, settings=lambda: app.state.inswapper.service.settings)
    app.add_middleware(Access, metrics=lambda: app.state.inswapper.metrics)
    add_problem_handlers(app)
    app.include_router(detect.router)
    app.include_router(detect_video.router)
    app.include_router(admin.router)
    app.include_router(page.router)
    _add_health_routes(app)
    return app


def _add_health_routes(app: FastAPI) -> None:
    for path in ("/health", "/v2/health/live"):
        responses = answered(examples.HEALTH) | documented(413, 500)
        app.add_api_route(path, health, tags=["health"], responses=responses)
    for path in ("/ready", "/v2/health/ready"):
        responses = answered(examples.READY) | documented(413, 500, 503)
        app.add_api_route(path, ready, tags=["health"], responses=responses)
    responses = answered(examples.METRICS, CONTENT_TYPE_LATEST) | documented(413, 500)
    app.add_api_route(
        "/metrics", metrics, tags=["health"], response_class=Response, responses=responses
    )


async def health() -> dict[str, str]:
    """Liveness: 200 while the process responds; does not check the model or the disk."""
    return {"status": "alive"}


async def ready(state: AppStateDep) -> dict[str, str]:
    """Readiness: 200 if a verified bundle and a face detector are loaded, else 503 with reasons."""
    faults = state.service.faults
    if faults:
        raise Problem(503, faults[0], retry_after_s=RETRY_AFTER_S, reasons=faults)
    return {"status": "ready"}


async def metrics(state: AppStateDep) -> Response:
    """Counters and durations in the Prometheus text format."""
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


app = create_app()
