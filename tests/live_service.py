"""The service as a process of its own, for tests that talk to it as a user would."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.imports import ROOT
from tests.processes import START_S, answers, environment, free_port

COMMAND = ("-m", "uvicorn", "serve.main:app", "--http", "serve.connection:Connection")


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
        )
        try:
            deadline = time.monotonic() + START_S
            while not answers(address):
                log.seek(0)
                assert process.poll() is None, log.read()
                assert time.monotonic() < deadline, "the service did not start"
                time.sleep(0.1)
            yield address
        finally:
            process.kill()
            process.wait()
