"""Image formats that are recognised but not read, and how to convert them."""

import re
from pathlib import Path
from typing import BinaryIO, Final

HEAD_BYTES: Final = 4096

# Name of the format in plural, and a tool that converts it.
HEIC: Final = ("HEIC images", "`heif-convert` or, on macOS, `sips`")
HEIF: Final = ("HEIF images", HEIC[1])
AVIF: Final = ("AVIF images of this kind", "`avifdec`")
JPEG_XL: Final = ("JPEG XL images", "`djxl`")
RAW: Final = ("raw camera files", "`darktable-cli`")
PSD: Final = ("Photoshop files (PSD)", "`magick`")
SVG: Final = ("SVG drawings", "`rsvg-convert`")
PDF: Final = ("PDF documents", "`pdftoppm`")

# First brand of the `ftyp` box. mif1 and msf1 name only the container: the brands after it say
# which codec it contains. Videos have other brands.
BRANDS: Final = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2", b"miaf"), HEIF),
    b"crx ": RAW,
}
STARTS: Final = {
    b"8BPS": PSD,
    b"%PDF-": PDF,
    b"\xff\x0a": JPEG_XL,
    b"\x00\x00\x00\x0cJXL ": JPEG_XL,
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\x00": RAW,
    b"FOVb": RAW,
    b"\x00MRM": RAW,
}
# Canon's older raw files are TIFF files with this mark after the header.
CANON_RAW: Final = re.compile(rb"II\*\x00....CR", re.DOTALL)
SVG_START: Final = re.compile(rb"\s*<(\?xml|!--|!DOCTYPE svg|svg)")


def unread_format(source: Path | BinaryIO) -> str:
    """Advice for an image of a known format that is not read; "" for any other content.

    For example "HEIC images are not read; convert this one to PNG or JPEG, for example with ...".
    A stream is read from its start. A file that cannot be opened counts as other content.
    """
    found = _recognised(_head(source))
    if found is None:
        return ""
    name, tool = found
    return f"{name} are not read; convert this one to PNG or JPEG, for example with {tool}"


def _head(source: Path | BinaryIO) -> bytes:
    if not isinstance(source, Path):
        source.seek(0)
        return source.read(HEAD_BYTES)
    try:
        with source.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError:
        return b""


def _recognised(head: bytes) -> tuple[str, str] | None:
    if head[4:8] == b"ftyp":
        return _branded(head)
    for start, found in STARTS.items():
        if head.startswith(start):
            return found
    if CANON_RAW.match(head):
        return RAW
    text = head.removeprefix(b"\xef\xbb\xbf")
    return SVG if SVG_START.match(text) and b"<svg" in text else None


def _branded(head: bytes) -> tuple[str, str] | None:
    size = int.from_bytes(head[:4], "big")
    first = BRANDS.get(head[8:12])
    if first is not HEIF:
        return first
    others = [BRANDS.get(head[at : at + 4]) for at in range(16, min(size, len(head)) - 3, 4)]
    return next((brand for brand in others if brand in (HEIC, AVIF)), HEIF)
