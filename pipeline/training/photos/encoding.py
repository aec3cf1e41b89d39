"""How a photo was stored, so that its twin can be stored in the same way."""

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
    """How a photo was stored. size: width and height. tables: of a JPEG file, else None."""

    size: tuple[int, int] = (0, 0)
    tables: tuple[tuple[int, ...], ...] | None = None
    subsampling: int = -1
    grey: bool = False

    @property
    def suffix(self) -> str:
        return ".png" if self.tables is None else ".jpg"

    def encode(self, pixels: ImageU8) -> bytes:
        """(H, W[, 3]) RGB or grey as the photo was stored, once more."""
        image = Image.fromarray(pixels).convert("L" if self.grey or pixels.ndim == 2 else "RGB")
        stream = io.BytesIO()
        if self.tables is None:
            image.save(stream, "PNG", compress_level=3)
        else:
            tables = [list(table) for table in self.tables]
            image.save(stream, "JPEG", qtables=tables, subsampling=self.subsampling)
        return stream.getvalue()


def read_encoding(path: Path) -> Encoding:
    with Image.open(path) as image:
        grey = image.mode == "L"
        if not isinstance(image, JpegImagePlugin.JpegImageFile):
            return Encoding(image.size, grey=grey)
        tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
        return Encoding(image.size, tables, JpegImagePlugin.get_sampling(image), grey)


def read_shrunk(path: Path, max_side_px: int) -> ImageU8:
    rgb = read_image(path)
    scale = max_side_px / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
