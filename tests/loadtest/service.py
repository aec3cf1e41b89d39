"""The service under test: its own uvicorn process on loopback, started as `make serve` does."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.runtime.errors import PipelineError
from tests.loadtest.client import Client
from tests.support.service_process import open_files

START_S = 120
POLL_S = 0.02
COMMAND = (
    *(sys.executable, "-m", "uvicorn", "serve.main:app", "--host", "127.0.0.1"),
    *("--no-access-log", "--loop", "asyncio", "--http", "serve.web.connection:Connection"),
    *("--timeout-graceful-shutdown", "90", "--port"),
)


@dataclass(frozen=True)
class Service:
    """A service that is ready. cold_start_s: from the start of its process to /ready."""

    port: int
    token: str
    process: psutil.Process
    temporary: Path
    log: Path
    cold_start_s: float

    @property
    def admin(self) -> dict[str, str]:
        """Headers for the admin routes."""
        return {"Authorization": f"Bearer {self.token}"}

    def temporary_files(self) -> int:
        """Number of its temporary files, including open files without a name."""
        own = (t for t in open_files(self.process.pid) if t.startswith(str(self.temporary)))
        return sum("(deleted)" in target for target in own) + sum(
            1 for _ in self.temporary.iterdir()
        )


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """Start a service. folder: for its log and temporary files. Raises PipelineError on failure."""
    token, port = secrets.token_hex(24), _free_port()
    temporary, log = folder / "temporary", folder / "service.log"
    temporary.mkdir()
    variables = {"INSWAPPER_ADMIN_TOKEN": token, "TMPDIR": str(temporary)}
    started = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*COMMAND, str(port)], env=os.environ | variables, stdout=stream, stderr=stream
        )
    try:
        _await_ready(process, port, log)
        taken_s = time.perf_counter() - started
        yield Service(port, token, psutil.Process(process.pid), temporary, log, taken_s)
    finally:
        process.terminate()
        process.wait()


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise PipelineError(f"the service is not ready:\n{log.read_text()}")
        time.sleep(POLL_S)


def _is_ready(port: int) -> bool:
    with Client(port) as client:
        return client.send("GET", "/ready").status == 200


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
