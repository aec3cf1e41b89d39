"""Reading image files upright with 8 bits per channel, and writing them losslessly."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipeline.core.arrays import ImageU8
from pipeline.core.files import replacing
from pipeline.media import frame_files
from pipeline.media.unread_formats import unread_format
from pipeline.runtime.errors import DecodeError

# By far the fastest compression level.
PNG_LEVEL = 1
# Level 0 gives files that are a fifth larger, and levels above 1 take two to four times as long for
# 2 to 5 % (256-px crops: PNG 80 kB in 5 ms, level 1 50 kB in 11 ms).
WEBP_METHOD = 1
# Other modes are rejected: 16-bit and floating-point images would be clipped silently.
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def read_image(path: Path) -> ImageU8:
    """Read an image or a frame's file as (H, W, 3) uint8 RGB, rotated by its EXIF orientation.

    Raises DecodeError unless it is a readable image with 8 bits per channel; for a format that is
    known but not read, such as HEIC, it names the format and how to convert it.
    """
    if path.suffix == frame_files.SUFFIX:
        return frame_files.read_frame(path)
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise DecodeError(f"{path}: mode {image.mode}; expected 8 bits per channel")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except DecodeError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, "image", error) from error


def read_mask(path: Path, shape_hw: tuple[int, int]) -> ImageU8:
    """Read a paste mask as (H, W) uint8.

    Raises DecodeError when it is not a readable image or its size is not `shape_hw`.
    """
    try:
        with Image.open(path) as image:
            mask: ImageU8 = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, "mask", error) from error
    if mask.shape != shape_hw:
        raise DecodeError(f"{path}: mask of {mask.shape}, expected {shape_hw} like its image")
    return mask


def _unreadable(path: Path, what: str, error: Exception) -> DecodeError:
    advice = unread_format(path) or f"not a readable {what} ({type(error).__name__})"
    return DecodeError(f"{path}: {advice}")


def encode_png(pixels: ImageU8) -> bytes:
    """Encode (H, W) grey or (H, W, 3) RGB pixels as PNG."""
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    return encoded.tobytes()


def write_png(path: str | Path, pixels: ImageU8) -> None:
    """Write (H, W) grey or (H, W, 3) RGB pixels, creating the parent folder."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(encode_png(pixels))


def encode_webp(pixels: ImageU8) -> bytes:
    """Encode (H, W) grey or (H, W, 3) RGB pixels as lossless WebP."""
    stream = io.BytesIO()
    # The quality of a lossless file is the effort of the encoder.
    Image.fromarray(pixels).save(stream, "WEBP", lossless=True, method=WEBP_METHOD, quality=0)
    return stream.getvalue()


def write_webp(path: str | Path, pixels: ImageU8) -> None:
    """Write (H, W) grey or (H, W, 3) RGB pixels, creating the parent folder."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(encode_webp(pixels))
