"""Requests to the service, and checks of its responses."""

from typing import Any

from fastapi.testclient import TestClient

TOKEN = "a-token-of-the-test"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


def stripped(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("request_id", "timing_ms")}


def check_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail"} <= set(problem)
    return dict(problem)


def detect(client: TestClient, content: bytes, name: str = "face.jpg") -> Any:
    return client.post("/detect", files={"file": (name, content)})
