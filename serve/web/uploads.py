"""Files of a multipart request; all temporary files are deleted when the request ends."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from serve.problems import RETRY_AFTER_S, Problem

MULTIPART = "multipart/form-data"
MAX_FIELDS = 16


@asynccontextmanager
async def uploaded(request: Request, field: str, max_files: int) -> AsyncIterator[list[BinaryIO]]:
    """The files sent as `field`, in their order: at least one, at most `max_files`.

    File names are ignored. Raises Problem 400, 413, 415, 422 or 503.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MULTIPART:
        raise Problem(415, f"expected {MULTIPART} with the part {field!r}")
    form = await _parsed(request, max_files)
    try:
        files = [v.file for v in form.getlist(field) if isinstance(v, UploadFile)]
        if not files:
            raise Problem(422, f"expected a file in the part {field!r}")
        yield files
    finally:
        await form.close()


async def _parsed(request: Request, max_files: int) -> FormData:
    try:
        return await request.form(max_files=max_files, max_fields=MAX_FIELDS)
    except Problem:
        raise
    except HTTPException as error:  # Starlette's own, which always has status 400
        if error.detail.startswith("Too many"):
            raise Problem(413, f"at most {max_files} files and {MAX_FIELDS} fields") from None
        raise Problem(400, "the multipart body is malformed") from None
    except (LookupError, UnicodeError):  # a name that cannot be decoded with its charset
        raise Problem(400, "the multipart body is malformed") from None
    except OSError as error:
        raise _not_stored(error) from error


def _not_stored(error: OSError) -> Problem:
    """Problem 503: the disk for temporary files is full or missing, not the client's fault."""
    detail = f"the upload cannot be stored ({error.strerror})"
    return Problem(503, detail, retry_after_s=RETRY_AFTER_S)


class DetachedUpload:
    """An upload that stays open after its request, until it is closed.

    The file has no name in the file system, so that nothing is left behind even if the service is
    killed. Raises Problem 503 if the disk is full.
    """

    def __init__(self, stream: BinaryIO) -> None:
        try:
            # fileno() writes an upload that is still in memory to disk.
            stream.flush()
            self.fd = os.dup(stream.fileno())
        except OSError as error:
            raise _not_stored(error) from error

    @property
    def path(self) -> Path:
        """Path that opens the content again, from its start."""
        return Path(f"/dev/fd/{self.fd}")

    def close(self) -> None:
        os.close(self.fd)


def documented_upload(field: str, *, several: bool = False) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its multipart body itself."""
    one = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "required": [field],
        "properties": {field: {"type": "array", "items": one} if several else one},
    }
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}
