"""serve.client with the service, and with a server that misbehaves on purpose."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from serve.client import Client, ServiceError
from tests.support.bundles import write_bundle
from tests.support.imports import ROOT
from tests.support.live_service import live_service
from tests.support.service_process import free_port
from tests.support.synthetic import draw_face

TOKEN = "a-token-of-the-test"
HEAVY = ("numpy", "cv2", "onnxruntime", "av", "PIL", "pydantic", "fastapi", "pipeline")
OK = (200, {}, b'{"verdict": "real"}')
PROBLEM = b'{"title": "busy", "detail": "later", "request_id": "r1"}'
# None: the connection is closed without a response.
SILENCE = None

Answer = tuple[int, dict[str, str], bytes] | None


@dataclass
class Script:
    """Responses that a server sends in turn, and the requests that it received."""

    answers: list[Answer]
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)


@contextmanager
def server(script: Script, port: int = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            script.arrivals_s.append(time.monotonic())
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append((f"{self.command} {self.path}", body))
            answer = script.answers.pop(0)
            self.close_connection = True
            if answer is None:
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_DELETE = do_POST

        def log_message(self, *_: object) -> None:
            """Keep the test output clean."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{opened.server_port}"
        finally:
            opened.shutdown()
            thread.join()


def failed_detect(script: Script, deadline_s: float = 30) -> ServiceError:
    with (
        server(script) as address,
        Client(address, deadline_s=deadline_s) as client,
        pytest.raises(ServiceError) as raised,
    ):
        client.detect(b"image")
    return raised.value


def test_a_light_user_needs_nothing_but_httpx() -> None:
    code = "import sys, serve.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "httpx" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.slow
def test_retry_after_is_waited_for_and_the_same_body_sent(status: int, tmp_path: Path) -> None:
    (tmp_path / "secret-name.jpg").write_bytes(b"image")
    script = Script([(status, {"Retry-After": "1"}, b"{}"), OK])
    with server(script) as address, Client(address) as client:
        assert client.detect(tmp_path / "secret-name.jpg", heatmap=True) == {"verdict": "real"}
    assert [target for target, _ in script.requests] == ["POST /detect?heatmap=true"] * 2
    assert all(b"\r\n\r\nimage\r\n" in body for _, body in script.requests)
    assert all(b"secret-name" not in body for _, body in script.requests)
    assert script.arrivals_s[1] - script.arrivals_s[0] >= 1


def test_retry_after_may_be_a_date() -> None:
    script = Script([(503, {"Retry-After": formatdate(time.time() + 100, usegmt=True)}, b"{}")])
    error = failed_detect(script)
    assert error.retry_after_s == pytest.approx(100, abs=20)


@pytest.mark.parametrize(
    "answer",
    [
        (503, {}, b"{}"),
        (503, {"Retry-After": "soon"}, b"{}"),
        (503, {"Retry-After": "²"}, b"{}"),
        (500, {"Retry-After": "1"}, b"{}"),
        (422, {}, b"{}"),
    ],
)
def test_other_answers_are_final(answer: Answer) -> None:
    script = Script([answer])
    assert failed_detect(script).retry_after_s is None
    assert len(script.requests) == 1


def test_nothing_is_tried_again_after_the_deadline() -> None:
    script = Script([(503, {"Retry-After": "30"}, PROBLEM)])
    error = failed_detect(script, deadline_s=10)
    assert (error.status, error.title, error.detail) == (503, "busy", "later")
    assert (error.request_id, error.retry_after_s) == ("r1", 30)
    assert len(script.requests) == 1


def test_an_answer_that_is_no_problem_json() -> None:
    error = failed_detect(Script([(502, {}, b"<h1>proxy</h1>")]))
    assert (error.status, error.title, error.detail) == (502, "Bad Gateway", "<h1>proxy</h1>")
    assert failed_detect(Script([(502, {}, b"[1]")])).detail == "[1]"


def test_a_refused_connection_is_tried_again() -> None:
    port = free_port()
    script = Script([OK])
    started = threading.Event()
    finished = threading.Event()

    def start_late() -> None:
        started.wait()
        with server(script, port):
            finished.wait(30)

    late = threading.Thread(target=start_late)
    late.start()
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            assert client.ready() is False
            started.set()
            assert client.detect(b"image") == {"verdict": "real"}
    finally:
        started.set()
        finished.set()
        late.join()


def test_nobody_there() -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}", deadline_s=0.5) as client,
        pytest.raises(ServiceError) as raised,
    ):
        client.detect(b"image")
    assert raised.value.status is None


def test_a_post_that_broke_off_is_not_repeated_a_get_is() -> None:
    script = Script([SILENCE])
    assert failed_detect(script).status is None
    assert len(script.requests) == 1
    script = Script([SILENCE, OK])
    with server(script) as address, Client(address) as client:
        assert client.call("GET", "/jobs/1").json() == {"verdict": "real"}
    assert len(script.requests) == 2


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real service with a tiny bundle."""
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"))
    with live_service(
        INSWAPPER_MODEL_PATH=str(bundle), INSWAPPER_ADMIN_TOKEN=TOKEN, INSWAPPER_MAX_UPLOAD_MB="1"
    ) as started:
        yield started


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, token=TOKEN) as opened:
        yield opened


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "face.png"
    cv2.imwrite(str(path), draw_face(3, height=260, width=320, face_px=110).rgb[:, :, ::-1])
    return path


@pytest.mark.slow
def test_images(client: Client, image: Path) -> None:
    assert client.ready() is True
    answer = client.detect(image)
    assert answer["verdict"] in ("real", "suspicious", "fake")
    assert client.detect(image.read_bytes())["score"] == answer["score"]
    items = client.detect_batch([image, b"no image", str(image)])["items"]
    assert [item["status"] for item in items] == [200, 415, 200]


@pytest.mark.slow
def test_problems_of_the_service(client: Client) -> None:
    with pytest.raises(ServiceError) as raised:
        client.detect(b"no image")
    assert raised.value.status == 415
    assert len(str(raised.value.request_id)) == 32
    assert raised.value.problem["type"].endswith(":unsupported-type")


@pytest.mark.slow
def test_a_body_that_is_refused_before_it_is_read(client: Client) -> None:
    with pytest.raises(ServiceError) as raised:
        client.detect(bytes(30_000_000))
    assert raised.value.status == 413


@pytest.mark.slow
def test_administration(client: Client, address: str) -> None:
    assert client.set_threshold(0.9)["threshold"]["fake"] == pytest.approx(0.9)
    assert client.reload_model()["threshold"]["source"] == "admin"
    assert client.set_threshold(None)["threshold"]["source"] == "bundle"
    with Client(address) as stranger, pytest.raises(ServiceError) as raised:
        stranger.reload_model()
    assert raised.value.status == 401
