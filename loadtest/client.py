"""Clients of the load test: threads that mostly sleep, with the cheapest client there is.

They share the cores with the service, so a request is encoded once and sent again and again.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection

import httpx

TIMEOUT_S = 120
# More than the service lets in (INSWAPPER_QUEUE_LENGTH): the others are there to be refused.
OPEN_CLIENTS = 64


@dataclass(frozen=True)
class Upload:
    """An encoded POST."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """taken_s: since the request was due. done_at: by the clock of time.perf_counter."""

    status: int
    taken_s: float
    done_at: float


class Client:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        due: float | None = None,
    ) -> Reply:
        """due: when it should have been sent, by time.perf_counter; None means now."""
        started = time.perf_counter() if due is None else due
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        response.read()
        ended = time.perf_counter()
        return Reply(response.status, ended - started, ended)

    def post(self, upload: Upload, due: float | None = None) -> Reply:
        return self.send("POST", upload.path, upload.body, upload.headers, due)


def upload_of(path: str, field: str, contents: Sequence[bytes]) -> Upload:
    files = [(field, ("upload", content)) for content in contents]
    request = httpx.Request("POST", f"http://127.0.0.1{path}", files=files)
    headers = {"Content-Type": request.headers["content-type"]}
    return Upload(path, headers, request.read())


def closed_loop(
    work: Callable[[int], Callable[[], Reply]], clients: int, stop: threading.Event
) -> list[Reply]:
    """Each client sends its next request when the last one is answered, until `stop` is set.

    work: number of a client -> what that client does again and again. Returns all replies.
    """

    def run(number: int) -> list[Reply]:
        send, replies = work(number), []
        while not stop.is_set():
            replies.append(send())
        return replies

    with ThreadPoolExecutor(clients) as pool:
        return [reply for replies in pool.map(run, range(clients)) for reply in replies]


def poster(port: int, upload: Upload) -> Callable[[], Reply]:
    """Sends one upload again and again over one connection."""
    client = Client(port)
    return lambda: client.post(upload)


def open_loop(port: int, upload: Upload, rate_hz: float, duration_s: float) -> list[Reply]:
    """Send at a fixed rate, whatever is answered; times count from when each request was due."""
    own = threading.local()

    def send(due: float) -> Reply:
        if not hasattr(own, "client"):
            own.client = Client(port)
        client: Client = own.client
        return client.post(upload, due)

    with ThreadPoolExecutor(OPEN_CLIENTS) as pool:
        started, futures = time.perf_counter(), []
        for number in range(int(rate_hz * duration_s)):
            due = started + number / rate_hz
            time.sleep(max(0.0, due - time.perf_counter()))
            futures.append(pool.submit(send, due))
        return [future.result() for future in futures]
