"""A browser page of the service that records errors and requests to other hosts."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tests.support.service_process import START_S, free_port, serve

# The browser's own message for an error response, which is not an error of the page.
STATUS_LINE = re.compile(r"Failed to load resource: the server responded with a status of \d+")


@dataclass
class Watched:
    """A page with its errors and all its requests."""

    page: Any
    address: str
    errors: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda r: self.requests.append((r.method, r.url)))

    def _on_console(self, message: Any) -> None:
        if message.type == "error" and not STATUS_LINE.match(message.text):
            self.errors.append(message.text)

    def elsewhere(self) -> list[str]:
        own = (self.address, f"blob:{self.address}", "data:")
        return [url for _, url in self.requests if not url.startswith(own)]


@contextmanager
def started(until: str, **variables: str) -> Iterator[str]:
    port = free_port()
    process = serve(port, **variables)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}{until}", process)
        yield address
    finally:
        process.kill()
        process.communicate()


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_S
    while not is_ok(url):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.1)


def is_ok(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def pixels(canvas: Any) -> np.ndarray:
    """Pixels of a canvas, (H, W, 4) uint8."""
    width, height, values = canvas.evaluate(
        """c => {
          const image = c.getContext("2d").getImageData(0, 0, c.width, c.height);
          return [c.width, c.height, [...image.data]];
        }"""
    )
    return np.array(values, np.uint8).reshape(height, width, 4)
