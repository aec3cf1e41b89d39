"""Size limit of images and frames, checked before any of their pixels is decoded."""

from math import isqrt
from typing import Final

from pipeline.runtime.errors import TooLargeError

PIXELS_VARIABLE = "INSWAPPER_MAX_IMAGE_PIXELS"
# Largest allowed value of the variable.
MOST_PIXELS: Final = 200_000_000


def check_size(what: str, width_px: int, height_px: int, max_pixels: int) -> None:
    """Raise TooLargeError for too many pixels or for a side that is too long.

    Face detection also runs with a border of half the longer side on all sides, so an image of one
    row would need the memory of a square.
    """
    if width_px * height_px > max_pixels:
        raise TooLargeError(
            f"{what} of {width_px}x{height_px} px is above the limit of {max_pixels} px"
            f" ({PIXELS_VARIABLE})"
        )
    longest = isqrt(2 * max_pixels)
    if max(width_px, height_px) > longest:
        raise TooLargeError(
            f"{what} of {width_px}x{height_px} px has a side above {longest} px, the square root of"
            f" twice {PIXELS_VARIABLE}"
        )
