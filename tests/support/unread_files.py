"""First bytes of image files in formats that are recognised but not read."""

import struct


def branded(*brands: bytes) -> bytes:
    """An `ftyp` box with these brands, the first one as the major brand, and empty space."""
    body = brands[0] + bytes(4) + b"".join(brands)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(100)


HEIC = branded(b"heic", b"mif1")
# By the name of the format, and a variant after a comma.
UNREAD = {
    "HEIC images": HEIC,
    "HEIC images, later brand": branded(b"mif1", b"miaf", b"heic"),
    "HEIF images": branded(b"mif1"),
    "AVIF images": branded(b"avif", b"mif1"),
    "AVIF images, later brand": branded(b"mif1", b"avif"),
    "JPEG XL images": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(100),
    "JPEG XL images, no boxes": b"\xff\x0a" + bytes(100),
    "raw camera files, Canon": b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(100),
    "raw camera files, brands": branded(b"crx ", b"isom"),
    "raw camera files, Fujifilm": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "Photoshop files": b"8BPS\x00\x01" + bytes(100),
    "SVG drawings": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG drawings, header": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg></svg>',
    "PDF documents": b"%PDF-1.7\n" + bytes(100),
}
# Nothing is said of these.
OTHERS = {
    "MP4": branded(b"isom", b"mif1", b"heic"),
    "XML": b"<?xml version='1.0'?><html></html>",
    "TIFF": b"II*\x00\x10\x00\x00\x00" + bytes(100),
    "short box": b"\x00\x00\x00\x08ftyp",
    "text": b"heic mif1 8BPS",
    "nothing": b"",
}
