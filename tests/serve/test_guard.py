"""serve.web.guard: size and time limits of a request's body, sent message by message."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.types import Message

from serve.problems import add_problem_handlers
from serve.settings import Settings
from serve.web.guard import DEFAULT_BODY_BYTES, Guard, body_limit

SETTINGS = Settings(max_upload_mb=0.001, body_timeout_s=0.05)


def small_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(Guard, settings=lambda: SETTINGS)
    add_problem_handlers(app)

    @app.post("/detect")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.post("/broken")
    async def broken() -> None:
        raise RuntimeError("secret")

    return app


def play(
    messages: list[Message], headers: dict[str, str] | None = None, path: str = "/detect"
) -> tuple[int, dict[str, str], Any]:
    """Send these messages; afterwards the client sends nothing but stays connected."""
    waiting, sent = list(messages), []

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    asyncio.run(small_app()(scope, receive, send))
    answered = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], answered, json.loads(body)


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_within_the_limit_arrives_whole() -> None:
    status, headers, body = play([part(b"x" * 600, True), part(b"y" * 400, False)])
    assert (status, body) == (200, 1000)
    assert len(headers["x-request-id"]) == 32
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("messages", "headers"),
    [
        ([], {"content-length": "1001"}),
        ([part(b"x" * 600, True), part(b"x" * 401, True)], {}),
        ([part(b"x" * 1001, True)], {"content-length": "10"}),
    ],
)
def test_a_body_beyond_the_limit_is_413(messages: list[Message], headers: dict[str, str]) -> None:
    status, answered, problem = play(messages, headers)
    assert status == problem["status"] == 413
    assert answered["content-type"] == "application/problem+json"
    assert problem["request_id"] == answered["x-request-id"]


def test_a_silent_client_gets_408() -> None:
    status, _, problem = play([part(b"x", True)])
    assert (status, problem["detail"]) == (408, "no request body received for 0.05 s")


def test_a_client_that_leaves_is_no_failure_of_ours() -> None:
    assert play([part(b"x", True), {"type": "http.disconnect"}])[0] == 400


def test_other_routes_take_small_bodies_only() -> None:
    assert body_limit("/detect/", SETTINGS) == 1000
    assert body_limit("/admin/threshold", SETTINGS) == DEFAULT_BODY_BYTES


def test_a_bug_is_a_problem_without_details() -> None:
    client = TestClient(small_app(), raise_server_exceptions=False)
    response = client.post("/broken")
    assert response.status_code == response.json()["status"] == 500
    assert "secret" not in response.text
    assert len(response.json()["request_id"]) == 32
