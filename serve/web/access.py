"""Access log and request metrics: one line and one count per request, also for failed ones."""

import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.web.logs import event
from serve.web.metrics import ServiceMetrics

LOG = logging.getLogger("inswapper.access")
# Clients choose paths and methods freely. Unknown ones share a name, otherwise the number of metric
# labels would be unbounded.
UNKNOWN_ROUTE = "(unknown)"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Access:
    """Outermost ASGI middleware. metrics: a function, since they are created at startup."""

    def __init__(self, app: ASGIApp, metrics: Callable[[], ServiceMetrics]) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # An exception that passes through here is answered with 500 further out.
        status, bytes_in = 500, 0

        async def counting_receive() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def watching_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, counting_receive, watching_send)
        finally:
            self._note(scope, status, time.perf_counter() - started, bytes_in)

    def _note(self, scope: Scope, status: int, duration_s: float, bytes_in: int) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in METHODS else "(other)"
        metrics = self._metrics()
        metrics.requests.labels(method, route, str(status)).inc()
        metrics.request_s.labels(route).observe(duration_s)
        event(
            LOG,
            logging.ERROR if status == 500 else logging.INFO,
            "request",
            request_id=scope.get("request_id", ""),
            method=method,
            route=route,
            status=status,
            duration_ms=round(1000 * duration_s, 2),
            bytes_in=bytes_in,
        )


def route_of(scope: Scope) -> str:
    """Template of the matched route, such as `/jobs/{job_id}`; the actual path is never logged."""
    return str(getattr(scope.get("route"), "path", UNKNOWN_ROUTE))
