"""The service as a separate process, for tests that use it over HTTP."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.support.imports import ROOT
from tests.support.service_process import await_ready, environment, free_port

COMMAND = ("-m", "uvicorn", "serve.main:app", "--http", "serve.web.connection:Connection")


@contextmanager
def live_service(**variables: str) -> Iterator[str]:
    """Start a service; yields its address when it is ready. variables: its environment."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # Not a pipe, which would be full after some hundred lines and block the service.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *COMMAND, "--port", str(port)],
            cwd=ROOT,
            env=environment(**variables),
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            await_ready(process, address, lambda: read_from_start(log))
            yield address
        finally:
            process.kill()
            process.wait()


def read_from_start(stream: IO[str]) -> str:
    """Whole content of a file, including what other processes wrote."""
    stream.seek(0)
    return stream.read()
