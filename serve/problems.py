"""Errors as RFC 9457 problem+json with a request id and a stable type; input is never echoed."""

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
INTERNAL_ERROR = "internal error; see the server log for this request_id"
# Retry-After of 409 and 503. The inference queue has its own, shorter one.
RETRY_AFTER_S = 10

# By status: type of the problem (last part of its URI), title.
TITLES = {
    400: ("malformed-request", "Malformed request"),
    401: ("unauthorised", "A valid bearer token is required"),
    403: ("forbidden", "This route is disabled"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    408: ("slow-body", "The request body arrived too slowly"),
    409: ("conflict", "Conflict with the service's current state"),
    413: ("too-large", "The request exceeds a limit"),
    415: ("unsupported-type", "Unsupported content type"),
    422: ("unusable-content", "The content cannot be used"),
    429: ("too-many-requests", "Too many requests from this client"),
    500: ("internal", "Internal error"),
    503: ("unavailable", "Service unavailable"),
}


class Problem(HTTPException):
    """An error whose status is a key of TITLES. extra: further members of the response."""

    def __init__(
        self, status: int, detail: str, *, retry_after_s: int | None = None, **extra: Any
    ) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, detail, headers)
        self.extra = extra


def problem_of(error: DecodeError) -> Problem:
    """The problem for an input that cannot be decoded: 413, 415 or 422."""
    if isinstance(error, TooLargeError):
        return Problem(413, str(error))
    return Problem(415 if isinstance(error, UnknownFormatError) else 422, str(error))


def body_of(problem: Problem, request_id: str) -> dict[str, Any]:
    """JSON members of a problem."""
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
    """Error responses of a route for the OpenAPI document."""
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
    """Response 200 of a route, with its example, for the OpenAPI document."""
    content = {media_type: {"example": example}}
    return {200: {"description": "Successful response", "content": content}}


def _example(status: int) -> dict[str, Any]:
    return body_of(Problem(status, "what is wrong and what is expected"), EXAMPLE_ID)


def add_problem_handlers(app: FastAPI) -> None:
    """Make the app answer every error with problem+json."""

    def on_http_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, Problem):
            status = getattr(error, "status_code", 500)
            known = status if status in TITLES else 400
            # Keep headers such as Allow, which a 405 must have.
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
        return response_of(Problem(400, "the request body ended early"), request_id_of(request))

    def on_bug(request: Request, error: Exception) -> JSONResponse:
        LOG.error("request %s failed", request_id_of(request), exc_info=error)
        response = response_of(Problem(500, INTERNAL_ERROR), request_id_of(request))
        # This response is sent outside serve.web.guard, which otherwise sets the header.
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
