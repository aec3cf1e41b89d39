"""The service as a process of its own, for tests that talk to it as a user would."""

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
    """The address of a service that is ready. variables: its environment."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # Not a pipe: it would be full after some hundred lines, and the service wait for a reader.
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
            await_ready(process, address, lambda: read_anew(log))
            yield address
        finally:
            process.kill()
            process.wait()


def read_anew(stream: IO[str]) -> str:
    """All that a file holds, whoever wrote it."""
    stream.seek(0)
    return stream.read()
