"""The service as a process of its own, for tests that talk to it as a user would."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.test_serve_process import START_S, answers, free_port, serve


@contextmanager
def live_service(**variables: str) -> Iterator[str]:
    """The address of a service that is ready. variables: its environment."""
    port = free_port()
    process = serve(port, **variables)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while not answers(address):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.communicate()
