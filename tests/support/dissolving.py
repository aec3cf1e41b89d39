"""Shots that dissolve into each other."""

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.core.arrays import ImageU8


def dissolve(first: Sequence[ImageU8], second: Sequence[ImageU8], frames: int) -> list[ImageU8]:
    """Join two shots: the last frames of the first are blended with the first of the second.

    The blends are the frames len(first) - frames to len(first) - 1 of the result.
    """
    blends = []
    for number, (old, new) in enumerate(zip(first[-frames:], second, strict=False), start=1):
        weight = number / (frames + 1)
        blends.append(np.asarray(cv2.addWeighted(old, 1 - weight, new, weight, 0), np.uint8))
    return [*first[:-frames], *blends, *second[frames:]]
