"""serve.web.tracing: spans arrive at a collector on loopback, without anything personal."""

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.runtime.errors import SettingsError
from serve.main import create_app
from serve.settings import Settings
from tests.bundles import write_bundle
from tests.imports import ROOT

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry") is None
    or importlib.util.find_spec("opentelemetry.instrumentation") is None,
    reason="the extra [otel] is not installed",
)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Bodies that an OTLP collector on loopback receives."""
    received: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "the-service-of-the-test")
        yield received
        server.shutdown()
        thread.join()


@needs_extra
def test_a_request_becomes_a_span(tmp_path: Path, collector: list[bytes]) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    settings = Settings(model_path=write_bundle(tmp_path), otel=True)
    app = create_app(settings)
    with TestClient(app, client=("192.0.2.7", 50_000)) as client:
        headers = {"user-agent": "secret-agent"}
        assert client.post("/detect?secret=1", content=b"x", headers=headers).status_code == 415
        client.get("/secret-path", headers=headers)
        client.get("/health")
    sent = b"".join(collector)
    assert b"secret" not in sent
    assert b"192.0.2.7" not in sent
    assert b"the-service-of-the-test" in sent
    spans = [
        span
        for body in collector
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == 2
    assert spans[0].name == "POST /detect"


def test_a_missing_extra_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes an import fail as if the package were not there.
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [n for n in sys.modules if n.startswith("opentelemetry.")]:
        monkeypatch.setitem(sys.modules, name, None)
    settings = Settings(model_path=write_bundle(tmp_path), otel=True)
    with (
        pytest.raises(SettingsError, match=r"INSWAPPER_OTEL: .*pip install '\.\[otel\]'"),
        TestClient(create_app(settings)),
    ):
        pass


def test_without_the_switch_nothing_of_it_is_imported() -> None:
    code = "import sys, serve.main; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
