"""The service in a separate process, for tests that use it as a client does."""

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
    """Start a service and yield its address once it is ready. variables: its environment."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # Not a pipe, which would fill up after a few hundred lines and block the service.
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
            await_ready(process, address, lambda: read_all(log))
            yield address
        finally:
            process.kill()
            process.wait()


def read_all(stream: IO[str]) -> str:
    """Read a file from its beginning."""
    stream.seek(0)
    return stream.read()
