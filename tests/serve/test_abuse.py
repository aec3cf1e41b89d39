"""Hostile requests to a real uvicorn process: each is refused or answered, never with a 500."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.bundles import write_bundle
from tests.support.hostile_inputs import (
    BODIES,
    END,
    FACE,
    FILE_NAMES,
    IMAGES,
    hostile_image,
    part,
)
from tests.support.service_process import connected, open_files, read_to_end, reader_of, running
from tests.support.slow_videos import write_slow

pytestmark = pytest.mark.slow
TOKEN = "a-token-of-the-test"
MULTIPART = "multipart/form-data; boundary=b"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Victim:
    """A service under attack. temporary: its folder for temporary files."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path

    def post(self, path: str, body: bytes, media_type: str = MULTIPART) -> httpx.Response:
        headers = {"content-type": media_type}
        return httpx.post(self.address + path, content=body, headers=headers, timeout=60)

    def raw(self, *pieces: bytes) -> bytes:
        """Send raw bytes piece by piece until the service responds, and return its response."""
        with connected(self.address) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except ConnectionError:
                pass
            try:
                return read_to_end(connection)
            except ConnectionError:
                return b""

    def is_well(self) -> bool:
        """Check that a valid request is answered and that no temporary file is left."""
        good = self.post("/detect", part(FACE) + END)
        return good.status_code == 200 and self.upload_count() == 0

    def upload_count(self) -> int:
        """Number of temporary files, including files without a name."""
        targets = open_files(self.process.pid)
        unnamed = sum(target.startswith(str(self.temporary)) for target in targets)
        return unnamed + len(list(self.temporary.iterdir()))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"))
    temporary = tmp_path_factory.mktemp("temporary")
    variables = {"TMPDIR": str(temporary), "INSWAPPER_ADMIN_TOKEN": TOKEN}
    with running(bundle, "--http", "serve.web.connection:Connection", **variables) as (
        process,
        address,
    ):
        yield Victim(process, address, temporary)
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=30)[1]
    assert "Traceback" not in log
    assert '"status": 500' not in log
    assert "inswapper-abuse" not in log


def check(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.status_code == 200 or response.headers["content-type"] == PROBLEM
    assert "passwd" not in response.text
    assert "inswapper-abuse" not in response.text


@pytest.mark.parametrize("name", IMAGES)
def test_hostile_images(victim: Victim, name: str) -> None:
    check(victim.post("/detect", part(hostile_image(name)) + END), IMAGES[name][1])
    assert victim.is_well()


def test_no_hostile_image_is_a_video(victim: Victim) -> None:
    for name in IMAGES:
        check(victim.post("/detect/video", part(hostile_image(name)) + END), 415)
    assert victim.is_well()


def test_file_names_are_only_names(victim: Victim) -> None:
    before = set(Path(tempfile.gettempdir()).glob("*inswapper-abuse*"))
    for name in FILE_NAMES:
        check(victim.post("/detect", part(FACE, file_name=name) + END), 200)
    assert set(Path(tempfile.gettempdir()).glob("*inswapper-abuse*")) == before
    assert victim.is_well()


@pytest.mark.parametrize("name", BODIES)
def test_hostile_bodies(victim: Victim, name: str) -> None:
    media_type, body, status = BODIES[name]
    check(victim.post("/detect", body, media_type or MULTIPART), status)
    assert victim.is_well()


# --- Invalid HTTP ---

START = (
    b"POST /detect HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: " + MULTIPART.encode()
)
WHOLE = part(FACE) + END


def length(count: int | str) -> bytes:
    return f"\r\nContent-Length: {count}\r\n\r\n".encode()


CHUNKED = b"\r\nTransfer-Encoding: chunked\r\n\r\n"
PART_HEAD = b"%x\r\n" % len(part(b"")) + part(b"") + b"\r\n"
MEGABYTE = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
RAW = {
    "Content-Length too small": ([START, length(len(WHOLE) - 500), WHOLE], 422),
    "Content-Length above the limit": ([START, length(10**9)], 413),
    "Content-Length of 30 digits": ([START, length(10**30)], 400),
    "Content-Length below zero": ([START, length(-1)], 400),
    "Content-Length in words": ([START, length("many")], 400),
    "two lengths": ([START, b"\r\nContent-Length: 5", length(9)], 400),
    "chunks beyond the limit": ([START, CHUNKED, PART_HEAD, *[MEGABYTE] * 40], 413),
    "chunk size in words": ([START, CHUNKED, b"many\r\n"], 400),
    "chunk size without end": ([START, CHUNKED, b"0" * 200_000], 400),
    "header of 1 MB": ([START, b"\r\nX: " + b"y" * 1_000_000, b"\r\n\r\n"], 400),
    # Near 64 kB the parser's response depends on how the bytes are split.
    "2000 headers": ([START, b"\r\nX: y" * 2000, b"\r\n\r\n"], 422),
    "40000 headers": ([START, b"\r\nX: y" * 40_000, b"\r\n\r\n"], 400),
    "path of 1 MB": ([b"GET /" + b"a" * 1_000_000], 400),
    "no HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, b"\r\n\r\n"], 400),
}


@pytest.mark.parametrize("name", RAW)
def test_hostile_framing(victim: Victim, name: str) -> None:
    pieces, status = RAW[name]
    answer = victim.raw(*pieces)
    # A connection that is closed while the client still sends may lose its last answer.
    assert answer == b"" or answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert victim.is_well()


@pytest.mark.parametrize("path", [b"/detect", b"/detect/batch", b"/detect/video"])
def test_clients_that_leave_within_a_body(victim: Victim, path: bytes) -> None:
    half = part(bytes(4_000_000))[:3_000_000]
    for _ in range(5):
        with connected(victim.address) as connection:
            connection.sendall(START.replace(b"/detect", path) + length(5_000_000) + half)
    # Events are processed in order, so the disconnects have been handled after one more request.
    assert victim.is_well()


# --- The machine ---


@pytest.mark.parametrize("path", ["/detect", "/detect/batch", "/detect/video"])
def test_a_full_disk(victim: Victim, path: str) -> None:
    """A file size limit of 100 kB has the same effect on temporary files as a full disk."""
    service = psutil.Process(victim.process.pid)
    before = service.rlimit(psutil.RLIMIT_FSIZE)
    service.rlimit(psutil.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        body = part(bytes(2_000_000), name=b"files" if "batch" in path else b"file") + END
        response = victim.post(path, body)
    finally:
        service.rlimit(psutil.RLIMIT_FSIZE, before)
    check(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert victim.is_well()


def test_a_killed_reader(victim: Victim, tmp_path: Path) -> None:
    write_slow(tmp_path / "slow.mp4")
    body = part((tmp_path / "slow.mp4").read_bytes()) + END
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(victim.post, "/detect/video", body)
        reader_of(victim.process).kill()
        check(answer.result(), 422)
    assert victim.is_well()


def test_reloads_at_once(victim: Victim) -> None:
    def reload(_: int) -> int:
        headers = {"authorization": f"Bearer {TOKEN}"}
        address = f"{victim.address}/admin/reload-model"
        return httpx.post(address, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(reload, range(6)))
    assert set(statuses) == {200, 409}
    assert victim.is_well()
