"""Inputs of the load test, made from a photograph in an installed package (see data/README.md)."""

import io
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.arrays import ImageU8
from pipeline.media.video_writer import write_video
from pipeline.training.sample.cast import ASTRONAUT
from pipeline.training.sample.sources import read_image

SIDE_PX = 1024
# Gives about 250 kB at that side.
JPEG_QUALITY = 95
CLIP_PX = 320
CLIP_FRAMES = 25


def photograph(side_px: int = SIDE_PX) -> ImageU8:
    """(side, side, 3) uint8 with one face. Raises PackageError."""
    image = Image.fromarray(read_image(ASTRONAUT))
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.LANCZOS))


def encoded(rgb: ImageU8, file_format: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, file_format, quality=JPEG_QUALITY)
    return stream.getvalue()


def oversized_png(side_px: int = 20_000) -> bytes:
    """A PNG whose header states side x side pixels, with almost no data."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def clip() -> bytes:
    """A video of one second with a camera panning over the photograph."""
    wide = photograph(CLIP_PX + CLIP_FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, [wide[:CLIP_PX, i : i + CLIP_PX] for i in range(CLIP_FRAMES)], 25)
        return path.read_bytes()
