"""The service in a separate process: uvicorn on loopback, and raw connections to it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from serve.settings import PREFIX
from tests.support.imports import ROOT
from tests.support.slow_videos import readers

START_S = 60


def environment(**variables: str) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    keep |= {k: v for k, v in os.environ.items() if k == "INSWAPPER_CACHE"}
    return keep | variables


def serve(port: int, *options: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "serve.main:app", "--port", str(port), *options],
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


@contextmanager
def running(
    bundle: Path, *options: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a service; yields its process and address when it is ready."""
    port = free_port()
    process = serve(port, *options, INSWAPPER_MODEL_PATH=str(bundle), **variables)
    address = f"http://127.0.0.1:{port}"
    try:
        await_ready(process, address, lambda: process.communicate()[1])
        yield process, address
    finally:
        process.kill()
        process.communicate()


def await_ready(process: subprocess.Popen[str], address: str, log: Callable[[], str]) -> None:
    """Wait until the service is ready. log: returns the output of a process that has exited."""
    deadline = time.monotonic() + START_S
    while not answers(address):
        assert process.poll() is None, log()
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.1)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False


def multipart(content: bytes) -> tuple[bytes, bytes]:
    """Head and body of a POST to /detect that waits for 100 Continue between the two."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.png"\r\n\r\n'
    body = part + content + b"\r\n--b--\r\n"
    head = (
        b"POST /detect HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    return head, body


def connected(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30)


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def reader_of(service: subprocess.Popen[str]) -> psutil.Process:
    """Wait for the process that reads a video for the service, and return it."""
    deadline = time.monotonic() + START_S
    while not (found := readers(service.pid)):
        assert time.monotonic() < deadline, "no video is being read"
        time.sleep(0.02)
    return found[0]


def open_files(pid: int) -> Iterator[str]:
    """Targets of a process's open descriptors; ones closed in the meantime are skipped."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(entry.readlink())
