"""GET /: the review page, and its script and style sheet. Static files, no template, no other host.

The style sheet is a file of its own because `style-src 'self'` then needs no hash that would have
to be kept in step with the page.
"""

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # The icon is a data: address; images and videos are the user's own files as blob:.
        "img-src 'self' blob: data:",
        "media-src blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    # Asked again each time, answered 304: after an update no page runs with an old script.
    "cache-control": "no-cache",
}

router = APIRouter(include_in_schema=False)
_folder = StaticFiles(packages=[("serve", "page")])


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/review.js", methods=["GET", "HEAD"])
@router.api_route("/review.css", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """One of FILES, or 304 when the browser has it."""
    name, media_type = FILES[request.scope["route"].path]
    response = await _folder.get_response(name, request.scope)
    # The machine's own table of types may call a script text/plain, which nosniff would refuse.
    response.headers.update({**HEADERS, "content-type": media_type})
    return response
