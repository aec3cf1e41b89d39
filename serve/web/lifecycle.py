"""Startup and shutdown: plain startup errors, and a drain period after SIGTERM."""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.runtime.errors import PipelineError
from serve.detector.state import ServiceState

LOG = logging.getLogger("inswapper.serve")


@contextmanager
def drain_on_sigterm(state: ServiceState, delay_s: float) -> Iterator[None]:
    """On SIGTERM, make /ready answer 503, then call uvicorn's handler `delay_s` later.

    A second SIGTERM is passed on at once. Without an installed handler, or outside the main thread,
    nothing is changed. Needs a running event loop.
    """
    stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop):
        yield
        return
    loop = asyncio.get_running_loop()

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        is_second, state.draining = state.draining, True
        if is_second or delay_s == 0:
            stop(number, frame)
            return
        loop.call_soon_threadsafe(LOG.info, "draining for %g s", delay_s)
        loop.call_soon_threadsafe(loop.call_later, delay_s, stop, number, None)

    signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)


class PlainStartup:
    """ASGI middleware that reports user-fixable startup errors without a traceback.

    Starlette sends the server the whole traceback of any exception that aborts startup.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def plain(message: Message) -> None:
            # Starlette sends this while it handles the exception.
            fault = sys.exception()
            if message["type"] == "lifespan.startup.failed" and isinstance(fault, PipelineError):
                message = {**message, "message": str(fault)}
            await send(message)

        await self._app(scope, receive, plain if scope["type"] == "lifespan" else send)
