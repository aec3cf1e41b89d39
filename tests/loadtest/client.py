"""Clients of the load test: threads with a minimal HTTP client.

They use the same cores as the service, so each request is encoded once and sent repeatedly.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from queue import SimpleQueue

import httpx

TIMEOUT_S = 120
# The service closes a connection after 5 s of idle time, possibly while a request is in transit.
KEEP_S = 2
# Status of a request whose connection was closed without a response.
UNANSWERED = 0
# More than the service accepts (INSWAPPER_QUEUE_LENGTH), so that the others are refused.
OPEN_CLIENTS = 64


@dataclass(frozen=True)
class Upload:
    """An encoded POST."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A response. taken_s: time since the request was due. done_at: from time.perf_counter."""

    status: int
    taken_s: float
    done_at: float


class Client:
    """One connection, opened by the first request and reused."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self._used_at = 0.0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        due: float | None = None,
    ) -> Reply:
        """Send a request. due: when it was scheduled, from time.perf_counter; None means now."""
        started = time.perf_counter() if due is None else due
        status = self._status(method, path, body, headers or {})
        ended = time.perf_counter()
        return Reply(status, ended - started, ended)

    def _status(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> int:
        if time.perf_counter() - self._used_at > KEEP_S:
            self._connection.close()  # the request opens it again
        try:
            # A request refused before its whole body was read can still have a response.
            with suppress(BrokenPipeError):
                self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            response.read()
        except (ConnectionError, HTTPException):
            self._connection.close()
            return UNANSWERED
        self._used_at = time.perf_counter()
        return response.status

    def post(self, upload: Upload, due: float | None = None) -> Reply:
        return self.send("POST", upload.path, upload.body, upload.headers, due)


def upload_of(path: str, field: str, contents: Sequence[bytes]) -> Upload:
    files = [(field, ("upload", content)) for content in contents]
    request = httpx.Request("POST", f"http://127.0.0.1{path}", files=files)
    headers = {"Content-Type": request.headers["content-type"]}
    return Upload(path, headers, request.read())


def closed_loop(
    port: int, turns: Callable[[int], Iterable[Upload]], clients: int, stop: threading.Event
) -> list[tuple[Upload, Reply]]:
    """Each client sends its next upload when the previous one is answered, until `stop` is set.

    turns: number of a client -> endless sequence of its uploads.
    """

    def run(number: int) -> list[tuple[Upload, Reply]]:
        answered = []
        with Client(port) as client:
            for upload in turns(number):
                answered.append((upload, client.post(upload)))
                if stop.is_set():
                    break
        return answered

    with ThreadPoolExecutor(clients) as pool:
        return [pair for answered in pool.map(run, range(clients)) for pair in answered]


def open_loop(port: int, upload: Upload, rate_hz: float, duration_s: float) -> list[Reply]:
    """Send at a fixed rate regardless of responses; times count from when a request was due."""
    free: SimpleQueue[Client] = SimpleQueue()

    def send(due: float) -> Reply:
        client = free.get()
        try:
            return client.post(upload, due)
        finally:
            free.put(client)

    with ExitStack() as stack, ThreadPoolExecutor(OPEN_CLIENTS) as pool:
        for _ in range(OPEN_CLIENTS):
            free.put(stack.enter_context(Client(port)))
        started, futures = time.perf_counter(), []
        for number in range(int(rate_hz * duration_s)):
            due = started + number / rate_hz
            time.sleep(max(0.0, due - time.perf_counter()))
            futures.append(pool.submit(send, due))
        return [future.result() for future in futures]
