"""The bound on images and frames, which holds before any of their pixels is decoded."""

from math import isqrt
from typing import Final

from pipeline.runtime.errors import TooLargeError

VARIABLE = "INSWAPPER_MAX_IMAGE_PIXELS"
# What the variable may be at most.
MOST_PIXELS: Final = 200_000_000


def check_size(what: str, width_px: int, height_px: int, max_pixels: int) -> None:
    """Raises TooLargeError for too many pixels, and for a side that is out of all proportion.

    Faces are also sought with a border of half the longer side all around, so an image of one row
    would need the memory of a square.
    """
    if width_px * height_px > max_pixels:
        raise TooLargeError(
            f"{what} of {width_px}x{height_px} px is above the limit of {max_pixels} px"
            f" ({VARIABLE})"
        )
    longest = isqrt(2 * max_pixels)
    if max(width_px, height_px) > longest:
        raise TooLargeError(
            f"{what} of {width_px}x{height_px} px has a side above {longest} px, the root of twice"
            f" {VARIABLE}"
        )
