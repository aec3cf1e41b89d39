"""Metrics, log, Server-Timing, rate limit and OpenAPI document of a real app."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from serve import examples
from serve.main import create_app
from serve.schemas import AdminAnswer, BatchAnswer, DetectAnswer, VideoAnswer
from serve.settings import Settings
from serve.web.logs import JsonFormatter, TextFormatter, event
from tests.support.bundles import write_bundle
from tests.support.synthetic import draw_face, encoded_png

TOKEN = "a-token-of-the-test"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0, version="first")


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(model_path=folder, admin_token=TOKEN))) as opened:
        yield opened


@pytest.fixture(scope="module")
def face_png() -> bytes:
    return encoded_png(draw_face(3, height=260, width=320, face_px=110).rgb)


def detect(client: TestClient, content: bytes) -> Any:
    return client.post("/detect?secret=query", files={"file": ("secret-name.jpg", content)})


def scraped(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Value of each sample by its name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"inswapper_{name}", frozenset(labels.items())


def test_metrics_count_what_was_answered(client: TestClient, face_png: bytes) -> None:
    verdict = detect(client, face_png).json()["verdict"]
    detect(client, b"no image")
    client.post("/detect/batch", files=[("files", face_png)] * 2)
    client.post("/admin/reload-model", headers=ADMIN)
    client.post("/admin/reload-model?rollback=true", headers=ADMIN)
    client.post("/admin/reload-model?rollback=true", headers=ADMIN)
    found = scraped(client)
    assert found[sample("requests_total", method="POST", route="/detect", status="200")] == 1
    assert found[sample("requests_total", method="POST", route="/detect", status="415")] == 1
    assert found[sample("request_seconds_count", route="/detect")] == 2
    assert found[sample("pictures_total", verdict=verdict)] == 3
    assert found[sample("faces_total", verdict=verdict)] == 3
    for part in ("decode", "queue", "inference"):
        assert found[sample(f"{part}_seconds_count")] == 3
    assert found[sample("inference_seconds_sum")] > 0
    assert found[sample("reloads_total", what="reload", outcome="done")] == 1
    assert found[sample("reloads_total", what="rollback", outcome="done")] == 1
    assert found[sample("reloads_total", what="rollback", outcome="refused")] == 1
    assert found[sample("ready")] == 1
    assert found[sample("queue_length")] == 0
    assert found[sample("threshold")] == 0.8
    (model,) = [dict(labels) for name, labels in found if name == "inswapper_model_info"]
    assert (model["version"], model["precision"]) == ("first", "fp32")
    assert re.fullmatch("[0-9a-f]{12}", model["sha256"])


def test_two_apps_count_apart(client: TestClient, folder: Path, face_png: bytes) -> None:
    with TestClient(create_app(Settings(model_path=folder))) as other:
        detect(other, face_png)
        key = sample("requests_total", method="POST", route="/detect", status="200")
        assert scraped(other)[key] == 1
        assert key not in scraped(client)


def test_a_client_cannot_make_labels(client: TestClient) -> None:
    for path in ("/secret-1", "/secret-2/x", "/detect/secret-3", "/detect/"):
        client.get(path)
        client.request("SECRET", path)
    client.post("/detect", content=b"x", headers={"content-length": str(10**9)})
    labels = {value for _, pairs in scraped(client) for _, value in pairs}
    assert not any("secret" in label.lower() for label in labels)
    assert {"(unknown)", "(other)"} <= labels


def test_metrics_without_a_detector(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(model_path=tmp_path / "absent"))) as client:
        found = scraped(client)
    assert found[sample("ready")] == 0
    assert "inswapper_threshold" not in {name for name, _ in found}


def test_a_request_is_one_line_without_anything_personal(
    client: TestClient, face_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    response = detect(client, face_png)
    detect(client, b"secret-content")
    client.get("/secret-path?secret=query", headers={"user-agent": "secret-agent"})
    log = capsys.readouterr().err
    lines = [json.loads(line) for line in log.splitlines()]
    first, second, third = [line for line in lines if line["message"] == "request"]
    assert first["request_id"] == response.headers["x-request-id"]
    assert (first["method"], first["route"], first["status"]) == ("POST", "/detect", 200)
    assert first["level"] == "info"
    assert first["bytes_in"] > len(face_png)
    assert first["duration_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first["time"])
    assert second["status"] == 415
    assert (third["route"], third["status"]) == ("(unknown)", 404)
    assert "secret" not in log
    assert "testclient" not in log


def test_a_refused_head_is_logged_and_counted(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    response = client.post("/detect", content=bytes(26_000_000))
    assert response.status_code == 413
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["status"], line["request_id"]) == (413, response.headers["x-request-id"])


def test_a_bug_is_counted_and_logged_under_its_request_id(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(Settings(model_path=folder))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("cause")

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/broken")
        found = scraped(client)
    assert response.status_code == 500
    assert found[sample("requests_total", method="GET", route="/broken", status="500")] == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    request_id = response.headers["x-request-id"]
    assert request_id == response.json()["request_id"]
    (request,) = [line for line in lines if line.get("status") == 500]
    assert (request["level"], request["request_id"]) == ("error", request_id)
    (traceback,) = [line for line in lines if "exception" in line]
    assert request_id in traceback["message"]
    assert "RuntimeError: cause" in traceback["exception"]


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_both_formats_have_the_fields(formatter: logging.Formatter) -> None:
    lines = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    logger, handler = logging.Logger("inswapper.test"), Lines()
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    try:
        raise ValueError("cause")
    except ValueError:
        logger.exception("it failed")
    event(logger, logging.INFO, "request", status=200)
    assert "ValueError: cause" in lines[0]
    assert "Traceback" in lines[0]
    assert "status" in lines[1]
    assert "200" in lines[1]
    assert "\n" not in lines[1]


def test_server_timing(client: TestClient, face_png: bytes) -> None:
    response = detect(client, face_png)
    parts = dict(part.split(";dur=") for part in response.headers["server-timing"].split(", "))
    assert parts == {k: f"{v:.2f}" for k, v in response.json()["timing_ms"].items()}
    assert set(parts) == {"decode", "queue", "inference", "total"}
    batch = client.post("/detect/batch", files=[("files", face_png)] * 2)
    parts = dict(part.split(";dur=") for part in batch.headers["server-timing"].split(", "))
    alone = [item["result"]["timing_ms"]["inference"] for item in batch.json()["items"]]
    assert float(parts["inference"]) == pytest.approx(sum(alone), abs=0.02)
    assert float(parts["total"]) >= float(parts["inference"])
    assert "server-timing" not in detect(client, b"x").headers


def test_the_rate_limit(folder: Path, face_png: bytes) -> None:
    app = create_app(Settings(model_path=folder, rate_per_minute=2))
    with TestClient(app, client=("192.0.2.1", 1)) as client:
        assert detect(client, face_png).status_code == 200
        assert detect(client, b"x").status_code == 415
        for path in ("/detect", "/detect/batch", "/detect/video"):
            refused = client.post(path, files={"file": b"x"})
            assert refused.status_code == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert "192.0.2.1" not in refused.text
        assert client.get("/ready").status_code == 200
        # The same service, a different client.
        other = TestClient(app, client=("192.0.2.2", 1))
        assert detect(other, face_png).status_code == 200


# --- The OpenAPI document ---

OF_AN_UPLOAD = {"200", "400", "408", "413", "415", "422", "429", "500", "503"}


def operations(client: TestClient) -> dict[str, dict[str, Any]]:
    paths = client.get("/openapi.json").json()["paths"]
    return {
        f"{method.upper()} {path}": operation
        for path, item in paths.items()
        for method, operation in item.items()
    }


def test_every_status_is_documented_with_an_example(client: TestClient) -> None:
    found = operations(client)
    assert len(found) >= 10
    for name, operation in found.items():
        statuses = set(operation["responses"])
        assert {"413", "500"} <= statuses, name
        assert statuses >= OF_AN_UPLOAD or not name.startswith("POST /detect"), name
        assert {"401", "403", "409"} <= statuses or "/admin" not in name, name
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                assert "example" in content or "examples" in content, (name, status)


def test_problem_examples_name_their_status(client: TestClient) -> None:
    for operation in operations(client).values():
        for status, response in operation["responses"].items():
            problem = response.get("content", {}).get("application/problem+json")
            assert problem is None or problem["example"]["status"] == int(status)
            assert problem is not None or status.startswith("2")


def test_examples_fit_their_schemas() -> None:
    for model, example in (
        (DetectAnswer, examples.DETECT),
        (BatchAnswer, examples.BATCH),
        (VideoAnswer, examples.VIDEO),
        (AdminAnswer, examples.ADMIN),
    ):
        assert model.model_validate(example).model_dump(mode="json") == example
