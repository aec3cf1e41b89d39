"""Encoding of a photo, with which its paired swap is encoded too."""

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin

from pipeline.core.arrays import ImageU8
from pipeline.media.images import read_image


@dataclass(frozen=True)
class Encoding:
    """Encoding of a photo. size: width and height. tables: quantisation tables, None for PNG."""

    size: tuple[int, int] = (0, 0)
    tables: tuple[tuple[int, ...], ...] | None = None
    subsampling: int = -1
    grey: bool = False

    @property
    def suffix(self) -> str:
        return ".png" if self.tables is None else ".jpg"

    def encode(self, pixels: ImageU8) -> bytes:
        """Encode (H, W, 3) RGB or (H, W) grey pixels in the photo's format."""
        image = Image.fromarray(pixels).convert("L" if self.grey or pixels.ndim == 2 else "RGB")
        stream = io.BytesIO()
        if self.tables is None:
            image.save(stream, "PNG", compress_level=3)
        else:
            tables = [list(table) for table in self.tables]
            image.save(stream, "JPEG", qtables=tables, subsampling=self.subsampling)
        return stream.getvalue()


def read_encoding(path: Path) -> Encoding:
    """Read the encoding of an image file from its header."""
    with Image.open(path) as image:
        grey = image.mode == "L"
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return Encoding(image.size, grey=grey)
        tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
        return Encoding(image.size, tables, JpegImagePlugin.get_sampling(image), grey)


def read_shrunk(path: Path, max_side_px: int) -> ImageU8:
    """Read an image, (H, W, 3) uint8 RGB, shrunk to a longer side of at most `max_side_px`."""
    rgb = read_image(path)
    scale = max_side_px / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
