"""The service as a process: uvicorn on loopback, startup errors and SIGTERM."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import pytest

from tests.support.bundles import write_bundle
from tests.support.service_process import (
    START_S,
    connected,
    free_port,
    multipart,
    read_to_end,
    reader_of,
    running,
    serve,
)
from tests.support.slow_videos import write_slow
from tests.support.synthetic import draw_face, encoded_png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def service(bundle: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with running(bundle) as found:
        yield found


def test_an_image_by_http_and_a_clean_end(
    service: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = service
    cv2.imwrite(str(tmp_path / "face.jpg"), draw_face(1, face_px=110).rgb[:, :, ::-1])
    with (tmp_path / "face.jpg").open("rb") as stream:
        response = httpx.post(f"{address}/detect", files={"file": stream}, timeout=30)
    assert response.status_code == 200
    assert response.json()["verdict"] in ("real", "suspicious", "fake")
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=30)[1]
    assert "Traceback" not in log
    assert "face.jpg" not in log


def test_nonsense_settings_stop_the_start() -> None:
    process = serve(free_port(), INSWAPPER_QUEUE_LENGTH="none")
    log = process.communicate(timeout=START_S)[1]
    assert process.returncode not in (0, None)
    assert "INSWAPPER_QUEUE_LENGTH" in log


@pytest.mark.parametrize(
    ("variable", "content"),
    [("INSWAPPER_STATE_FILE", "broken"), ("INSWAPPER_ADMIN_TOKEN", None)],
)
def test_faults_outside_the_types_stop_the_start(
    tmp_path: Path, variable: str, content: str | None
) -> None:
    value = "short-secret"
    if content is not None:
        value = str(tmp_path / "state.json")
        Path(value).write_text(content)
    process = serve(free_port(), **{variable: value})
    log = process.communicate(timeout=START_S)[1]
    assert process.returncode not in (0, None)
    assert variable in log
    assert "short-secret" not in log


def test_the_log_is_json_and_uvicorn_writes_no_lines_of_its_own(bundle: Path) -> None:
    with running(bundle) as (process, address):
        httpx.get(f"{address}/secret?secret", headers={"user-agent": "secret"})
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)[1].splitlines()
    # uvicorn writes its first two lines before the settings are read.
    lines = [json.loads(line) for line in log[2:]]
    assert {line["logger"] for line in lines} >= {"inswapper.access", "uvicorn.error"}
    (request,) = [line for line in lines if line.get("status") == 404]
    assert request["route"] == "(unknown)"
    assert "secret" not in "".join(log)
    assert "127.0.0.1" not in json.dumps([r for r in lines if r["message"] == "request"])


def test_text_lines(bundle: Path) -> None:
    with running(bundle, INSWAPPER_LOG_FORMAT="text") as (process, address):
        httpx.get(f"{address}/health")
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)[1]
    assert "route=/health status=200 " in log


# --- SIGTERM ---

CLIENTS = 8


def test_sigterm_under_load_answers_every_accepted_request(
    service: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = service
    head, body = multipart(encoded_png(draw_face(1, face_px=110).rgb))
    clients = [connected(address) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(head)
    for client in clients:
        # The service has accepted the request and waits for its body.
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + START_S
    while accepts(address):
        assert time.monotonic() < deadline, "the service still accepts connections after SIGTERM"
        time.sleep(0.05)
    for client in clients:
        client.sendall(body)
    for client in clients:
        with client:
            assert read_to_end(client).startswith(b"HTTP/1.1 200 ")
    log = process.communicate(timeout=30)[1]
    assert "Traceback" not in log
    assert log.count('"route": "/detect", "status": 200') == CLIENTS


def accepts(address: str) -> bool:
    try:
        connected(address).close()
    except OSError:
        return False
    return True


def test_while_draining_it_is_not_ready_but_serves(bundle: Path) -> None:
    image = encoded_png(draw_face(1, face_px=110).rgb)
    with running(bundle, INSWAPPER_DRAIN_S="600") as (process, address):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + START_S
        while (response := httpx.get(f"{address}/ready")).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (response.status_code, response.json()["reasons"]) == (503, ["draining"])
        assert httpx.get(f"{address}/health").status_code == 200
        answer = httpx.post(f"{address}/detect", files={"file": image}, timeout=30)
        assert answer.status_code == 200
        assert process.poll() is None
        # The second SIGTERM skips the drain period.
        process.send_signal(signal.SIGTERM)
        assert "Traceback" not in process.communicate(timeout=30)[1]


def test_the_drain_ends_by_itself(bundle: Path) -> None:
    with running(bundle, INSWAPPER_DRAIN_S="0.5") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert "draining for 0.5 s" in process.communicate(timeout=30)[1]


# --- Slow clients ---

PATIENT = ("--http", "serve.web.connection:Connection", "--timeout-keep-alive", "1")


def test_half_a_head_is_not_waited_for_without_end(bundle: Path) -> None:
    with running(bundle, *PATIENT) as (process, address):
        silent, half, second = (connected(address) for _ in range(3))
        half.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHo")
        with silent, half, second:
            assert read_to_end(silent) == b""
            assert read_to_end(half) == b""
            answered = read_to_end(second)
        assert answered.startswith(b"HTTP/1.1 200 ")
        assert answered.count(b"HTTP/1.1") == 1
        process.send_signal(signal.SIGTERM)
        assert "Traceback" not in process.communicate(timeout=30)[1]


def test_a_head_in_time_and_a_long_body_are_served(bundle: Path) -> None:
    head, body = multipart(encoded_png(draw_face(1, face_px=110).rgb))
    with running(bundle, *PATIENT) as (_, address), connected(address) as client:
        client.sendall(head[:20])
        time.sleep(0.2)
        client.sendall(head[20:])
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        # Longer than the limit for a head; the body has its own limit.
        time.sleep(1.5)
        client.sendall(body + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = read_to_end(client)
    assert answered.count(b"HTTP/1.1 200 ") == 2


def test_a_silent_body_is_408(bundle: Path) -> None:
    head, body = multipart(b"x" * 1000)
    options = {"INSWAPPER_BODY_TIMEOUT_S": "0.5"}
    with running(bundle, *PATIENT, **options) as (_, address), connected(address) as client:
        client.sendall(head + body[:200])
        assert b"HTTP/1.1 408 " in read_to_end(client)


# --- Videos ---


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_job_by_http_its_events_and_its_end(
    service: tuple[subprocess.Popen[str], str], tmp_path: Path, end: signal.Signals
) -> None:
    process, address = service
    write_slow(tmp_path / "slow.mp4")
    with httpx.Client(base_url=address, timeout=60) as client:
        first, second = (start_job(client, tmp_path / "slow.mp4") for _ in range(2))
        with client.stream("GET", f"{first}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: progress"
            child = reader_of(process)
            child.suspend()
            assert httpx.get(f"{address}/health").status_code == 200
            assert client.delete(first).status_code == 204
            assert [line for line in lines if line.startswith("event:")][-1] == "event: cancelled"
        assert not child.is_running()
        # The next job is running; its event stream must not delay the shutdown.
        child = reader_of(process)
        child.suspend()
        with client.stream("GET", f"{second}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: progress"
            process.send_signal(end)
            list(lines)
    log = process.communicate(timeout=30)[1]
    assert process.returncode in (0, -end)
    assert "Traceback" not in log
    assert "slow.mp4" not in log
    assert not child.is_running()


def start_job(client: httpx.Client, path: Path) -> str:
    with path.open("rb") as stream:
        headers = {"Prefer": "respond-async"}
        response = client.post("/detect/video", files={"file": stream}, headers=headers)
    assert response.status_code == 202
    return str(response.headers["location"])


def test_a_killed_service_leaves_no_reader_and_no_file(
    service: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = service
    write_slow(tmp_path / "slow.mp4")
    with httpx.Client(base_url=address, timeout=60) as client:
        start_job(client, tmp_path / "slow.mp4")
    child = reader_of(process)
    process.kill()
    child.wait(30)


def test_a_client_that_leaves_takes_its_video_along(
    service: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = service
    write_slow(tmp_path / "slow.mp4")
    with (tmp_path / "slow.mp4").open("rb") as stream, pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}/detect/video", files={"file": stream}, timeout=0.2)
    child = reader_of(process)
    child.suspend()
    child.wait(30)
    assert httpx.get(f"{address}/ready").status_code == 200
