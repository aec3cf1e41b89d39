"""A client of the service; needs httpx alone, so this file may be copied elsewhere.

    with Client("http://127.0.0.1:8000") as client:
        print(client.detect("face.jpg")["verdict"])

Answers are the parsed JSON, which the service's /openapi.json describes.
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
# (name of the part, what it holds) of each file that is sent.
Files = Sequence[tuple[str, Source]]
Progress = Callable[[Json], None]

CONNECT_S = 5.0
# A POST that broke off may have been carried out, unless there never was a connection.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
BUSY = (429, 503)
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 3.0
ENDED = ("done", "failed", "cancelled")


class ServiceError(Exception):
    """What came instead of a result.

    status: of HTTP, None when no answer came. title, detail, request_id: of the problem+json, all
    of whose members are in `problem`. retry_after_s: when the same call may be tried again, None
    when it may not.
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
    """Tries again what was certainly not carried out: a POST after a refused connection, and any
    call that was answered by 429 or 503 with Retry-After. A GET also after a broken connection.

    token: of the admin routes. deadline_s: a call is not tried again after that time. timeout_s:
    longest silence within one attempt.
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
        """Whether the service can judge now; asked once."""
        try:
            return self._http.get("/ready").is_success
        except httpx.TransportError:
            return False

    def detect(self, image: Source, *, heatmap: bool = False) -> Json:
        """Judge one image, given as a path or as the file's bytes. Raises ServiceError."""
        return _json(self._upload("/detect", [("file", image)], heatmap))

    def detect_batch(self, images: Sequence[Source], *, heatmap: bool = False) -> Json:
        """Judge several images, each by itself: `items` in their order. Raises ServiceError."""
        files = [("files", image) for image in images]
        return _json(self._upload("/detect/batch", files, heatmap))

    def detect_video(
        self, video: Source, *, heatmap: bool = False, progress: Progress | None = None
    ) -> Json:
        """Judge a video as a job and wait for it; Ctrl-C cancels it. Raises ServiceError."""
        with self.start_video(video, heatmap=heatmap) as job:
            return job.result(progress)

    def start_video(self, video: Source, *, heatmap: bool = False) -> "Job":
        """Send a video, to be judged in the background. Raises ServiceError."""
        prefer = {"Prefer": "respond-async"}
        response = self._upload("/detect/video", [("file", video)], heatmap, headers=prefer)
        return Job(self, response.headers["location"], _json(response))

    def set_threshold(self, threshold: float | None) -> Json:
        """Call fake from this score on; None takes it back. Raises ServiceError."""
        return _json(self.call("POST", "/admin/threshold", json={"threshold": threshold}))

    def reload_model(self, *, rollback: bool = False) -> Json:
        """Verify and load the bundle again, or the one before it. Raises ServiceError."""
        params = {"rollback": "true"} if rollback else {}
        return _json(self.call("POST", "/admin/reload-model", params=params))

    def call(self, method: str, path: str, files: Files = (), **options: Any) -> httpx.Response:
        """One call, tried again within the deadline. options: httpx's. Raises ServiceError."""
        deadline = time.monotonic() + self._deadline_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self.attempt(method, path, files, **options)
            except ServiceError as error:
                if error.retry_after_s is None:
                    raise
                # Not all at the same time: others were sent away with the same number.
                wait_s = max(pause_s, error.retry_after_s) * random.uniform(1, 1.25)
                if time.monotonic() + wait_s > deadline:
                    raise
            time.sleep(wait_s)
            pause_s = _longer(pause_s)

    def attempt(self, method: str, path: str, files: Files = (), **options: Any) -> httpx.Response:
        """The same without a second try."""
        try:
            with _opened(files) as parts:
                response = self._http.request(method, path, files=parts, **options)
        except httpx.TransportError as error:
            again = method == "GET" or isinstance(error, NEVER_SENT)
            problem = {"title": "No answer from the service", "detail": str(error)}
            raise ServiceError(None, problem, 0 if again else None) from error
        if not response.is_success:
            raise ServiceError(response.status_code, _problem(response), _retry_after_s(response))
        return response

    def _upload(self, path: str, files: Files, heatmap: bool, **options: Any) -> httpx.Response:
        params = {"heatmap": "true"} if heatmap else {}
        return self.call("POST", path, files, params=params, **options)


class Job:
    """A video that the service judges in the background. state: its last known JobAnswer.

    The end of a `with` block, by Ctrl-C too, cancels the job and makes the service forget it.
    """

    def __init__(self, client: Client, path: str, state: Json) -> None:
        self.state = state
        self._client = client
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A job that cannot be reached expires by itself, and its result is worth more.
        with suppress(ServiceError):
            self.cancel()

    def refresh(self) -> Json:
        """Ask for the state. Raises ServiceError."""
        self.state = _json(self._client.call("GET", self._path))
        return self.state

    def result(self, progress: Progress | None = None) -> Json:
        """Wait for the VideoAnswer. progress: called with each state that is seen.

        Raises ServiceError, also for the error that the job ended with.
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
        """Stop the job and delete what the service keeps of it; twice does no harm."""
        try:
            self._client.attempt("DELETE", self._path)
        except ServiceError as error:
            if error.status != 404:
                raise


@contextmanager
def _opened(files: Files) -> Iterator[list[tuple[str, tuple[str, BinaryIO]]] | None]:
    """The parts of a multipart body, without the files' names; None for no body."""
    with ExitStack() as stack:
        parts = [(field, ("file", stack.enter_context(_stream(source)))) for field, source in files]
        yield parts or None


def _stream(source: Source) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _json(response: httpx.Response) -> Json:
    return dict(response.json())


def _problem(response: httpx.Response) -> Json:
    """The problem+json, or what can be said of an answer that is none, as a proxy's."""
    try:
        return _json(response)
    except (TypeError, ValueError):
        return {"title": response.reason_phrase, "detail": response.text[:200]}


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds from now that a 429 or 503 asks for, as a number or as a date."""
    value = response.headers.get("retry-after", "")
    if response.status_code not in BUSY or not value:
        return None
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _longer(pause_s: float) -> float:
    return min(1.5 * pause_s, LONGEST_PAUSE_S)
