"""Middleware before every route: request id, size limit and time limit of the body."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problems import Problem, response_of
from serve.settings import Settings

DEFAULT_BODY_BYTES = 65_536


class Guard:
    """ASGI middleware. settings: a function, since they are loaded at startup.

    Bytes are counted as they arrive, so neither a false Content-Length nor chunked encoding can
    exceed the limit.
    """

    def __init__(self, app: ASGIApp, settings: Callable[[], Settings]) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = uuid.uuid4().hex
        settings = self._settings()
        limit = body_limit(scope["path"], settings)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        if _declared_bytes(scope) > limit:
            await response_of(_too_large(limit), request_id)(scope, receive, send_with_id)
            return
        guarded = _guarded(receive, limit, settings.body_timeout_s)
        await self._app(scope, guarded, send_with_id)


def body_limit(path: str, settings: Settings) -> int:
    """Maximum size in bytes of a request body on this path."""
    megabytes = {
        "/detect": settings.max_upload_mb,
        "/detect/batch": settings.max_batch_mb,
        "/detect/video": settings.max_video_mb,
    }.get(path.rstrip("/"))
    return DEFAULT_BODY_BYTES if megabytes is None else int(megabytes * 1e6)


def _guarded(receive: Receive, limit: int, timeout_s: float) -> Receive:
    received = 0
    complete = False

    async def guarded() -> Message:
        nonlocal received, complete
        if complete:
            # Only a disconnect can follow, which may come as late as the response.
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), timeout_s)
        except TimeoutError:
            raise Problem(408, f"no request body received for {timeout_s:g} s") from None
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if received > limit:
            raise _too_large(limit)
        return message

    return guarded


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the request body is above the limit of {limit} bytes")


def _declared_bytes(scope: Scope) -> int:
    headers: dict[bytes, Any] = dict(scope["headers"])
    value = headers.get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0
