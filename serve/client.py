"""Client of the service. It only needs httpx, so this file can be copied into other projects.

    with Client("http://127.0.0.1:8000") as client:
        print(client.detect("face.jpg")["verdict"])

Methods return the parsed JSON, whose schema is in the service's /openapi.json.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

import httpx

Json = dict[str, Any]
Source = str | Path | bytes
# (name of the multipart field, content) of each file to send.
Files = Sequence[tuple[str, Source]]
Progress = Callable[[Json], None]

CONNECT_S = 5.0
# After these errors a POST cannot have been processed; after others it may have been.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
BUSY = (429, 503)
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 3.0
ENDED = ("done", "failed", "cancelled")


class ServiceError(Exception):
    """Error response of the service, or no response at all.

    status: HTTP status, None without a response. title, detail, request_id: members of the
    problem+json, all of which are in `problem`. retry_after_s: seconds after which the call may be
    retried, None if it must not be.
    """

    def __init__(
        self, status: int | None, problem: Json, retry_after_s: float | None = None
    ) -> None:
        self.status = status
        self.problem = problem
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.request_id: str | None = problem.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(" ".join(filter(None, [str(status or ""), self.title, self.detail])))


class Client:
    """HTTP client that retries only calls that cannot have been processed.

    These are a POST after a refused connection, and any call answered by 429 or 503 with
    Retry-After. A GET is also retried after a broken connection.

    token: bearer token of the admin routes. deadline_s: no retry starts after this time.
    timeout_s: maximum seconds without data within one attempt.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        deadline_s: float = 60,
        timeout_s: float = 120,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S)
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout)
        self._deadline_s = deadline_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ready(self) -> bool:
        """Whether the service is ready, from one request without retries."""
        try:
            return self._http.get("/ready").is_success
        except httpx.TransportError:
            return False

    def detect(self, image: Source, *, heatmap: bool = False) -> Json:
        """Score one image, given as a path or as the file's bytes. Raises ServiceError."""
        return _json(self._upload("/detect", [("file", image)], heatmap))

    def detect_batch(self, images: Sequence[Source], *, heatmap: bool = False) -> Json:
        """Score several images independently; `items` keeps their order. Raises ServiceError."""
        files = [("files", image) for image in images]
        return _json(self._upload("/detect/batch", files, heatmap))

    def detect_video(
        self, video: Source, *, heatmap: bool = False, progress: Progress | None = None
    ) -> Json:
        """Score a video as a job and wait for it; Ctrl-C cancels it. Raises ServiceError."""
        with self.start_video(video, heatmap=heatmap) as job:
            return job.result(progress)

    def start_video(self, video: Source, *, heatmap: bool = False) -> "Job":
        """Send a video to be scored in the background. Raises ServiceError."""
        prefer = {"Prefer": "respond-async"}
        response = self._upload("/detect/video", [("file", video)], heatmap, headers=prefer)
        return Job(self, response.headers["location"], _json(response))

    def set_threshold(self, threshold: float | None) -> Json:
        """Flag faces as fake at or above this score; None resets it. Raises ServiceError."""
        return _json(self.call("POST", "/admin/threshold", json={"threshold": threshold}))

    def reload_model(self, *, rollback: bool = False) -> Json:
        """Reload and verify the bundle, or restore the previous one. Raises ServiceError."""
        params = {"rollback": "true"} if rollback else {}
        return _json(self.call("POST", "/admin/reload-model", params=params))

    def call(self, method: str, path: str, files: Files = (), **options: Any) -> httpx.Response:
        """Make one call, retried within the deadline. options: httpx's. Raises ServiceError."""
        deadline = time.monotonic() + self._deadline_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self.attempt(method, path, files, **options)
            except ServiceError as error:
                if error.retry_after_s is None:
                    raise
                # Jitter: other clients were given the same Retry-After.
                wait_s = max(pause_s, error.retry_after_s) * random.uniform(1, 1.25)
                if time.monotonic() + wait_s > deadline:
                    raise
            time.sleep(wait_s)
            pause_s = _longer(pause_s)

    def attempt(self, method: str, path: str, files: Files = (), **options: Any) -> httpx.Response:
        """Make one call without retries. Raises ServiceError."""
        try:
            with _opened(files) as parts:
                response = self._http.request(method, path, files=parts, **options)
        except httpx.TransportError as error:
            can_retry = method == "GET" or isinstance(error, NEVER_SENT)
            problem = {"title": "No response from the service", "detail": str(error)}
            raise ServiceError(None, problem, 0 if can_retry else None) from error
        if not response.is_success:
            raise ServiceError(response.status_code, _problem(response), _retry_after_s(response))
        return response

    def _upload(self, path: str, files: Files, heatmap: bool, **options: Any) -> httpx.Response:
        params = {"heatmap": "true"} if heatmap else {}
        return self.call("POST", path, files, params=params, **options)


class Job:
    """A video that the service scores in the background. state: its last known JobAnswer.

    Leaving the `with` block, also by Ctrl-C, cancels the job and deletes it from the service.
    """

    def __init__(self, client: Client, path: str, state: Json) -> None:
        self.state = state
        self._client = client
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # An unreachable job expires anyway; do not lose a result that was already received.
        with suppress(ServiceError):
            self.cancel()

    def refresh(self) -> Json:
        """Fetch the job's state. Raises ServiceError."""
        self.state = _json(self._client.call("GET", self._path))
        return self.state

    def result(self, progress: Progress | None = None) -> Json:
        """Wait for the VideoAnswer. progress: called with each fetched state.

        Raises ServiceError, also when the job failed.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            if progress is not None:
                progress(self.state)
            if self.state["status"] in ENDED:
                break
            time.sleep(pause_s)
            pause_s = _longer(pause_s)
            self.refresh()
        if self.state["status"] == "done":
            return dict(self.state["result"])
        problem = self.state["error"] or {"title": "The job was cancelled"}
        raise ServiceError(problem.get("status"), problem)

    def cancel(self) -> None:
        """Stop the job and delete its data from the service; calling it twice is harmless."""
        try:
            self._client.attempt("DELETE", self._path)
        except ServiceError as error:
            if error.status != 404:
                raise


@contextmanager
def _opened(files: Files) -> Iterator[list[tuple[str, tuple[str, BinaryIO]]] | None]:
    """Parts of a multipart body, without the files' names; None if there is no body."""
    with ExitStack() as stack:
        parts = [(field, ("file", stack.enter_context(_stream(source)))) for field, source in files]
        yield parts or None


def _stream(source: Source) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _json(response: httpx.Response) -> Json:
    return dict(response.json())


def _problem(response: httpx.Response) -> Json:
    """The problem+json, or title and detail made from another response, such as a proxy's."""
    try:
        return _json(response)
    except (TypeError, ValueError):
        return {"title": response.reason_phrase, "detail": response.text[:200]}


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds from now in the Retry-After of a 429 or 503, which is a number or a date."""
    value = response.headers.get("retry-after", "")
    if response.status_code not in BUSY or not value:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _longer(pause_s: float) -> float:
    return min(1.5 * pause_s, LONGEST_PAUSE_S)
