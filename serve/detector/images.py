"""Decoding of untrusted image files to 8-bit RGB; the header is checked first.

Unusual images are handled as follows:

- EXIF orientation 1 to 8 is applied; an image with a damaged EXIF block counts as upright.
- Transparent pixels are composited onto white, as viewers show them.
- Only the first image of an animated or multi-page file is examined, with a warning. The extra
  images of a phone's multi-image JPEG (depth, gain map) are ignored without a warning.
- 16-bit samples keep their upper 8 bits. 32-bit and floating-point samples are refused.
- Grey becomes three equal channels. CMYK is converted without its colour profile, with a warning.
- Colour profiles are not applied, because training does not apply them either.
- A truncated file is refused: its missing part would be grey, and the border an artefact.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from warnings import filterwarnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.core.arrays import ImageU8
from pipeline.media.unread_formats import unread_format
from pipeline.runtime.errors import DecodeError, TooLargeError, UnknownFormatError
from serve.sizes import MOST_PIXELS, PIXELS_VARIABLE, check_size

# Pillow would also try formats that start other programs (EPS) or that are hardly used.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
EXIF_ORIENTATION = 274

# check_size below is stricter and runs before anything is decoded. But Pillow allocates the first
# frame of a GIF while it reads the header, which takes 4 GB in the worst case, unless the image
# has more than twice this many pixels and is refused. (Above this number Pillow would warn.)
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    rgb: (H, W, 3) uint8, upright. file_format: Pillow's name. orientation: EXIF value that was
    applied, 1 to 8. warnings: lossy steps of the decoding.
    """

    rgb: ImageU8
    file_format: str
    orientation: int
    warnings: tuple[str, ...] = ()


def is_image(source: Path | BinaryIO) -> bool:
    """Whether the content starts like an image of a known format; no pixels are decoded."""
    try:
        _open_header(source).close()
    except UnknownFormatError:
        return False
    except DecodeError:
        return True
    return True


def decode_image(source: Path | BinaryIO, max_pixels: int) -> DecodedImage:
    """Decode an image of at most `max_pixels` (width times height; serve.sizes bounds the sides).

    Raises UnknownFormatError, TooLargeError or DecodeError; no message quotes the file's content.
    """
    with _open_header(source) as image:
        check_size("image", *image.size, max_pixels)
        try:
            return _decode(image)
        except DecodeError:
            raise
        except Exception as error:  # hostile data makes decoders raise almost any class
            raise DecodeError(f"damaged or truncated {image.format} image") from error


def _open_header(source: Path | BinaryIO) -> Image.Image:
    try:
        return Image.open(source, formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLargeError(
            f"image of more than {MOST_PIXELS} px, the largest allowed {PIXELS_VARIABLE}"
        ) from None
    except FileNotFoundError:
        raise DecodeError("no such file") from None
    except PermissionError:
        raise DecodeError("no permission to read this file") from None
    except Exception as error:  # as above, for a hostile header
        if advice := unread_format(source):
            raise UnknownFormatError(advice) from None
        if isinstance(error, UnidentifiedImageError):
            raise UnknownFormatError(f"not an image ({', '.join(FORMATS)})") from None
        raise DecodeError("damaged image header") from error


def _decode(image: Image.Image) -> DecodedImage:
    warnings = []
    if image.format != "MPO" and getattr(image, "is_animated", False):
        warnings.append("only the first image of an animated or multi-page file was examined")
    image.load()
    orientation = _orientation(image)
    if image.mode == "CMYK":
        warnings.append("CMYK was converted without its colour profile")
    if image.has_transparency_data:
        warnings.append("transparent pixels were composited onto white")
    rgb = _upright(_to_rgb(image), orientation)
    return DecodedImage(np.ascontiguousarray(rgb), str(image.format), orientation, tuple(warnings))


def _to_rgb(image: Image.Image) -> ImageU8:
    """Convert any supported mode to (H, W, 3) uint8."""
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise DecodeError("32-bit samples are not supported; expected 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(canvas, layer)
    return np.asarray(image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation in 1..8. Read after load(), since Pillow itself rotates TIFF and AVIF."""
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse the image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(rgb: ImageU8, orientation: int) -> ImageU8:
    """Undo an EXIF orientation; 2 to 8 say at which row and column the image's top left is."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return rgb
