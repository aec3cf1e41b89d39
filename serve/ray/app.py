"""The service on Ray Serve: `serve run serve/deploy/ray.yaml`, which names these applications.

`pictures` at /: as many replicas as wanted, each the whole app of serve.main. `videos` at
/detect/video: one replica, since a job lives in the memory of the process that began it.
`administration` at /admin: one replica, which tells the others.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from ray import serve as ray_serve
from ray.serve import Application
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.main import create_app
from serve.ray.admin import create_admin_app
from serve.ray.replica import Replica

VIDEO_PREFIX = "/detect/video"
JOBS = "/jobs/"


class JobsElsewhere:
    """ASGI middleware of `pictures`: jobs are known to `videos` alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(JOBS):
            response = RedirectResponse(VIDEO_PREFIX + scope["path"], 307)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BelowVideos:
    """ASGI middleware of `videos`: /detect/video/jobs/... is /jobs/... to the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_location(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if (location := headers.get("location", "")).startswith(JOBS):
                    headers["location"] = VIDEO_PREFIX + location
            await send(message)

        if scope["type"] == "http":
            job = scope["path"].removeprefix(VIDEO_PREFIX)
            path = job if job.startswith(JOBS) else scope["path"]
            scope = {**scope, "root_path": "", "path": path}
        await self._app(scope, receive, send_location)


def _pictures() -> FastAPI:
    app = create_app()
    app.add_middleware(JobsElsewhere)
    return app


def _videos() -> FastAPI:
    app = create_app()
    app.add_middleware(BelowVideos)
    return app


class Administration:
    """The app alone; its one replica keeps orders apart."""


def _application(name: str, app: Any, of: type) -> Application:
    # Ray's types call this a function.
    deployment: Any = ray_serve.deployment(ray_serve.ingress(app)(of), name=name)
    bound: Application = deployment.bind()
    return bound


pictures = _application("pictures", _pictures, Replica)
videos = _application("videos", _videos, Replica)
administration = _application("administration", create_admin_app, Administration)
