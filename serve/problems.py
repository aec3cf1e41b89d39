"""Errors as RFC 9457 problem+json: a request id, a stable type, and never the request's content."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.runtime.errors import DecodeError, TooLargeError, UnknownFormatError

LOG = logging.getLogger("inswapper.serve")
MEDIA_TYPE = "application/problem+json"
EXAMPLE_ID = "9b2f0c5e7d6b4a51a1f2c3d4e5f60718"

# Type of each problem (the last part of its URI) and its title, by status.
TITLES = {
    400: ("malformed-request", "The request is malformed"),
    401: ("unauthorised", "A valid bearer token is needed"),
    403: ("forbidden", "This route is switched off"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method is not offered here"),
    408: ("slow-body", "The request's body came too slowly"),
    409: ("conflict", "This is not possible in the service's present state"),
    413: ("too-large", "The request is beyond a limit"),
    415: ("unsupported-type", "This type of content is not supported"),
    422: ("unusable-content", "The content cannot be used"),
    429: ("too-many-requests", "This client has made too many requests"),
    500: ("internal", "The service failed"),
    503: ("unavailable", "The service cannot answer now"),
}


class Problem(HTTPException):
    """An error with a status of TITLES; `extra` becomes further members of the answer."""

    def __init__(
        self, status: int, detail: str, *, retry_after_s: int | None = None, **extra: Any
    ) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, detail, headers)
        self.extra = extra


def problem_of(error: DecodeError) -> Problem:
    """The problem that an input causes."""
    if isinstance(error, TooLargeError):
        return Problem(413, str(error))
    return Problem(415 if isinstance(error, UnknownFormatError) else 422, str(error))


def body_of(problem: Problem, request_id: str) -> dict[str, Any]:
    """The JSON members of a problem."""
    slug, title = TITLES[problem.status_code]
    return {
        "type": f"urn:inswapper-detector:problem:{slug}",
        "title": title,
        "status": problem.status_code,
        "detail": problem.detail,
        "request_id": request_id,
        **problem.extra,
    }


def response_of(problem: Problem, request_id: str) -> JSONResponse:
    return JSONResponse(
        body_of(problem, request_id), problem.status_code, problem.headers, MEDIA_TYPE
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for the OpenAPI document."""
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
        },
    }
    return {
        status: {
            "description": TITLES[status][1],
            "content": {MEDIA_TYPE: {"schema": schema, "example": _example(status)}},
        }
        for status in statuses
    }


def answered(example: Any, media_type: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """The example of a route's 200, for its `responses`."""
    content = {media_type: {"example": example}}
    return {200: {"description": "Successful Response", "content": content}}


def _example(status: int) -> dict[str, Any]:
    return body_of(Problem(status, "what is wrong, and what would be right"), EXAMPLE_ID)


def add_problem_handlers(app: FastAPI) -> None:
    """Every error of the app leaves as problem+json."""

    def on_http_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, Problem):
            status = getattr(error, "status_code", 500)
            known = status if status in TITLES else 400
            # As Allow, which a 405 must have.
            headers = getattr(error, "headers", None) or {}
            error = Problem(known, TITLES[known][1])
            error.headers = {**headers, **(error.headers or {})}
        return response_of(error, request_id_of(request))

    def on_decode_error(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error) if isinstance(error, DecodeError) else Problem(500, "")
        return response_of(problem, request_id_of(request))

    def on_invalid(request: Request, error: Exception) -> JSONResponse:
        faults = error.errors() if isinstance(error, RequestValidationError) else []
        detail = "; ".join(f"{'.'.join(map(str, f['loc'][1:]))}: {f['msg']}" for f in faults)
        return response_of(Problem(422, detail), request_id_of(request))

    def on_disconnect(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
        return response_of(Problem(400, "the body ended too early"), request_id_of(request))

    def on_bug(request: Request, error: Exception) -> JSONResponse:
        LOG.error("request %s failed", request_id_of(request), exc_info=error)
        problem = Problem(500, "an error of ours; the log has it under this request_id")
        response = response_of(problem, request_id_of(request))
        # This one is answered outside serve.web.guard.
        response.headers["x-request-id"] = request_id_of(request)
        return response

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(DecodeError, on_decode_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(Exception, on_bug)


def request_id_of(request: Request) -> str:
    """The id that serve.web.guard gave this request."""
    return str(request.scope.get("request_id", ""))


RETRY_AFTER_S = 10
