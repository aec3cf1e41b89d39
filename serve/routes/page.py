"""Route GET / for the review page, its script and its style sheet: static files, one host.

The style sheet is a separate file because an inline one would need a hash in `style-src`, which
would have to be updated with every change of the page.
"""

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # The icon is a data: URL; images and videos are the user's own files as blob: URLs.
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
    # Browsers revalidate each time and get 304, so that an updated page never runs an old script.
    "cache-control": "no-cache",
}

router = APIRouter(include_in_schema=False)
_folder = StaticFiles(packages=[("serve", "page")])


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/review.js", methods=["GET", "HEAD"])
@router.api_route("/review.css", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """One of PAGE_FILES, or 304 if the browser has it cached."""
    name, media_type = PAGE_FILES[request.scope["route"].path]
    response = await _folder.get_response(name, request.scope)
    # The operating system may map .js to text/plain, which browsers refuse with nosniff.
    response.headers.update({**HEADERS, "content-type": media_type})
    return response
