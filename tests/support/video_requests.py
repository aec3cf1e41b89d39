"""Requests with videos to a real application, and their jobs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from serve.main import create_app
from serve.settings import Settings

APART = {"Prefer": "respond-async"}
WAIT_S = 60


def opened(folder: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(Settings(model_path=folder, **settings)))


def post(client: TestClient, content: bytes, **headers: str) -> Any:
    return client.post("/detect/video", files={"file": ("secret.mp4", content)}, headers=headers)


def start(client: TestClient, content: bytes) -> str:
    """Start a job; returns its path."""
    response = post(client, content, **APART)
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


def until(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def ended(client: TestClient, where: str) -> dict[str, Any]:
    def finished() -> dict[str, Any] | None:
        job = client.get(where).json()
        return None if job["status"] in ("queued", "running") else job

    return dict(until(finished))


def nameless_files() -> int:
    """Number of deleted files that this process has open."""
    links = Path("/proc/self/fd").iterdir()
    targets = [str(link.readlink()) for link in links if link.is_symlink()]
    return sum(target.endswith("(deleted)") for target in targets)
