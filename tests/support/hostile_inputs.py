"""Hostile files and requests."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from PIL import Image

from tests.support.synthetic import draw_face, encoded_png

FACE = encoded_png(draw_face(1, face_px=110).rgb)
BOUNDARY = b"b"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def large_png(side_px: int) -> bytes:
    """A black PNG with one bit per pixel; 20000 x 20000 pixels take 50 kB."""
    rows = zlib.compress((b"\0" + bytes((side_px + 7) // 8)) * side_px, 9)
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A valid PNG with an additional chunk after its header."""
    at = 8 + 25
    return FACE[:at] + png_chunk(kind, data) + FACE[at:]


@cache
def text_bomb() -> bytes:
    return with_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))


@cache
def profile_bomb() -> bytes:
    return with_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(200_000_000), 9))


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF whose header states this size; each frame is one pixel."""
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    palette = b"\x00\x00\x00\xff\xff\xff"
    return (
        b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + palette
        + one * frames + b"\x3b"
    )  # fmt: skip


def jpeg_that_claims(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def zip_of(content: bytes, name: str = "../../face.png") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


@cache
def zip_bomb() -> bytes:
    return zip_of(bytes(100_000_000))


@cache
def gzip_bomb() -> bytes:
    return gzip.compress(bytes(100_000_000))


def thin(height: int, width: int) -> bytes:
    return encoded_png(np.full((height, width, 3), 90, np.uint8))


ENTITY = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>"""

# Name, file or function that makes it, and status of /detect for it.
IMAGES: dict[str, tuple[bytes | Callable[[], bytes], int]] = {
    "PNG of 20000x20000": (partial(large_png, 20_000), 413),
    "PNG of 7000x7000, one bit": (partial(large_png, 7000), 200),
    "JPEG that claims 65500x65500": (jpeg_that_claims(65_500, 65_500), 413),
    "JPEG that claims 7000x7000": (jpeg_that_claims(7000, 7000), 200),
    "PNG text of 200 MB unpacked": (text_bomb, 422),
    "PNG colour profile of 200 MB unpacked": (profile_bomb, 422),
    "GIF of 65535x65535": (gif(65_535, 65_535, 1), 413),
    "GIF of 100000 frames": (gif(100, 100, 100_000), 200),
    "zip bomb": (zip_bomb, 415),
    "gzip bomb": (gzip_bomb, 415),
    "image within gzip": (gzip.compress(FACE), 415),
    "image and zip in one": (FACE + zip_of(b"x"), 200),
    "image and script in one": (FACE + b"<script>alert(1)</script><?php ?>", 200),
    "script that starts as GIF": (b"GIF89a/*" + b"*/=1;alert(1)//" * 50, 415),
    "SVG that names a file": (ENTITY, 415),
    "PDF": (b"%PDF-1.7\n" + bytes(2000), 415),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n", 415),
    "program": (b"\x7fELF" + bytes(4000), 415),
    "playlist": (b"#EXTM3U\nfile:///etc/passwd\n", 415),
    "zeros": (bytes(1_100_000), 415),
    "one pixel": (thin(1, 1), 200),
    "1x50000": (thin(1, 50_000), 413),
    "50000x1": (thin(50_000, 1), 413),
}


def hostile_image(name: str) -> bytes:
    """The file that `IMAGES` has under that name."""
    content, _ = IMAGES[name]
    return content if isinstance(content, bytes) else content()


FILE_NAMES = (
    b"../../../../tmp/inswapper-abuse.png",
    b"/tmp/inswapper-abuse.png",
    b"..\\..\\inswapper-abuse.png",
    b"C:\\inswapper-abuse.png",
    b"inswapper-abuse.png\\0.mp4",
    b"inswapper-abuse%00.png",
    b"|touch /tmp/inswapper-abuse.png",
    b"$(touch /tmp/inswapper-abuse.png)",
    b"\xff\xfe\x80inswapper-abuse.png",
    "inswapper-abuse\u202egnp.exe".encode(),
    b"",
    b"n" * 3000,
)


def part(content: bytes, name: bytes = b"file", file_name: bytes | None = b"f.png") -> bytes:
    file = b"" if file_name is None else b'; filename="' + file_name + b'"'
    head = b'Content-Disposition: form-data; name="' + name + b'"' + file
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"
HEADED = b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data"
CHARSET = "multipart/form-data; boundary=b; charset="

# Name, media type (None: the usual one), body, and status of /detect.
BODIES: dict[str, tuple[str | None, bytes, int]] = {
    "1001 files": (None, part(b"x") * 1001 + END, 413),
    "1001 fields": (None, part(b"x", file_name=None) * 1001 + END, 413),
    "part header of 10 MB": (None, HEADED + b'; name="' + b"a" * 10_000_000, 400),
    "100000 headers in a part": (None, HEADED + b"\r\nX: y" * 100_000 + b"\r\n\r\n", 400),
    "field of 10 MB": (None, part(b"x" * 10_000_000, file_name=None) + END, 400),
    "part without a name": (None, HEADED + b"\r\n\r\nx\r\n" + END, 400),
    "part without headers": (None, b"--b\r\n\r\nx\r\n" + END, 400),
    "no end": (None, part(FACE), 422),
    "nothing": (None, b"", 422),
    "boundary only": (None, END, 422),
    "wrong boundary": (None, part(FACE).replace(b"--b", b"--c"), 400),
    "boundary of 10 kB": ("multipart/form-data; boundary=" + "b" * 10_000, part(FACE) + END, 400),
    "no boundary": ("multipart/form-data", part(FACE) + END, 400),
    "multipart in multipart": ("multipart/mixed; boundary=b", part(FACE) + END, 415),
    "packed body": (None, gzip.compress(part(FACE) + END), 400),
    "charset idna": (CHARSET + "idna", part(FACE, file_name=b"\xff\xfe") + END, 200),
    "charset punycode": (CHARSET + "punycode", part(FACE, file_name=b"\xff\xfe") + END, 422),
    "charset undefined": (CHARSET + "undefined", part(FACE) + END, 400),
    "charset utf-16": (CHARSET + "utf-16", part(FACE) + END, 422),
    "charset zlib": (CHARSET + "zlib", part(FACE) + END, 200),
    "name with its own charset": (
        None,
        HEADED + b"; name=\"file\"; filename*=idna''%ff%fe\r\n\r\nx\r\n" + END,
        422,
    ),
}
