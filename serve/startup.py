"""A start that fails for a reason the user can mend says so in lines, without a traceback."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import PipelineError


class PlainStartup:
    """ASGI middleware: the server is told the text of our own errors; others keep their traceback.

    Starlette hands the server the whole traceback of whatever stops the start.
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
