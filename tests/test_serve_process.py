"""The service as a process: uvicorn on loopback, start-up refusals and SIGTERM."""

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
import pytest

from serve.settings import PREFIX
from tests.bundles import write_bundle
from tests.imports import ROOT
from tests.synthetic import draw_face

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
