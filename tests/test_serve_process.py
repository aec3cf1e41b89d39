"""The service as a process: uvicorn on loopback, start-up refusals and SIGTERM."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import psutil
import pytest

from serve.settings import PREFIX
from tests.bundles import write_bundle
from tests.imports import ROOT
from tests.synthetic import draw_face
from tests.videos import readers, write_slow

pytestmark = pytest.mark.slow
START_S = 60


def environment(**variables: str) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    keep |= {k: v for k, v in os.environ.items() if k == "INSWAPPER_CACHE"}
    return keep | variables


def serve(port: int, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "serve.main:app", "--port", str(port)],
        cwd=ROOT,
        env=environment(**variables),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    process = serve(port, INSWAPPER_MODEL_PATH=str(write_bundle(tmp_path / "bundle")))
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while not answers(address):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_picture_by_http_and_a_clean_end(
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


def test_a_job_by_http_its_events_and_its_end(
    service: tuple[subprocess.Popen[str], str], tmp_path: Path
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
        # The next job's turn has come; a stream of it must not hold up the end of the service.
        child = reader_of(process)
        child.suspend()
        with client.stream("GET", f"{second}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: progress"
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(httpx.RemoteProtocolError):
                list(lines)
    log = process.communicate(timeout=30)[1]
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in log
    assert "slow.mp4" not in log
    assert not child.is_running()


def start_job(client: httpx.Client, path: Path) -> str:
    with path.open("rb") as stream:
        headers = {"Prefer": "respond-async"}
        response = client.post("/detect/video", files={"file": stream}, headers=headers)
    assert response.status_code == 202
    return str(response.headers["location"])


def reader_of(service: subprocess.Popen[str]) -> psutil.Process:
    """The process that reads a video for the service."""
    deadline = time.monotonic() + START_S
    while not (found := readers(service.pid)):
        assert time.monotonic() < deadline, "no video is being read"
        time.sleep(0.02)
    return found[0]


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
