"""Whether a fake and its original show the same frame, judged by what is not swapped."""

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8

# A square of this many times the box's longer side contains a swapped face and its hair.
FACE_SCALE: Final = 1.5
# With less of the frame outside the faces there is nothing to compare.
MIN_OUTSIDE_FRAC: Final = 0.05
SHIFT_PX: Final = 2
SMOOTHING_PX: Final = 3
# Grey levels; keeps encoding noise in a frame without structure from counting as a change.
FLOOR: Final = 1.0
# 32 frames of eight genuine swaps, encoded at CRF 18 to 35 and compared with their originals at CRF
# 18 and 28, have 0.58 at most. Shifted by 2 px they have 0.82 at least, brightened by 10 % 1.18,
# cropped by 2 % 2.2 and mirrored 5.9. Three frames later 38 % are above the limit; in the others
# hardly anything outside the face moves. The limit was chosen on the same frames.
MAX_DISAGREEMENT: Final = 0.66


def frames_agree(
    fake_rgb: ImageU8,
    real_rgb: ImageU8,
    boxes_xyxy: Iterable[FloatArray],
    alpha: FloatArray | None = None,
) -> bool:
    """Whether two (H, W, 3) frames of one size differ only in the faces, apart from encoding noise.

    A mirrored, shifted, re-cropped, graded or re-timed copy does not agree. boxes_xyxy: (4,) boxes
    of all faces of the fake. alpha: (H, W) known paste mask, left out too. Frames that are filled
    by faces count as agreeing.
    """
    outside = _outside(fake_rgb, boxes_xyxy, alpha)
    if float(outside.mean()) < MIN_OUTSIDE_FRAC:
        return True
    return disagreement(fake_rgb, real_rgb, outside) <= MAX_DISAGREEMENT


def disagreement(fake_rgb: ImageU8, real_rgb: ImageU8, outside: NDArray[np.bool_]) -> float:
    """Difference of two frames, relative to the change of one when it is shifted by SHIFT_PX.

    outside: (H, W), where to compare. 0: equal; about 1: shifted by as much; larger: other images.
    Brightness is smoothed first, which reduces encoding noise more than displaced edges.
    """
    fake, real = _smooth_grey(fake_rgb), _smooth_grey(real_rgb)
    difference = float(np.square(fake - real)[outside].mean())
    vertical = np.square(real[SHIFT_PX:] - real[:-SHIFT_PX])[outside[SHIFT_PX:]]
    across = np.square(real[:, SHIFT_PX:] - real[:, :-SHIFT_PX])[outside[:, SHIFT_PX:]]
    shifted = float(np.concatenate([vertical, across]).mean()) if vertical.size else 0.0
    return float(np.sqrt(difference / (shifted + FLOOR**2)))


def _smooth_grey(rgb: ImageU8) -> FloatArray:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    width = 4 * SMOOTHING_PX + 1
    return np.asarray(cv2.GaussianBlur(grey, (width, width), SMOOTHING_PX), np.float32)


def _outside(
    rgb: ImageU8, boxes_xyxy: Iterable[FloatArray], alpha: FloatArray | None
) -> NDArray[np.bool_]:
    """(H, W): where no face and no paste is."""
    outside = np.ones(rgb.shape[:2], bool) if alpha is None else alpha == 0
    for x0, y0, x1, y1 in boxes_xyxy:
        half = FACE_SCALE / 2 * max(x1 - x0, y1 - y0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        rows = slice(max(0, round(float(y - half))), max(0, round(float(y + half))))
        columns = slice(max(0, round(float(x - half))), max(0, round(float(x + half))))
        outside[rows, columns] = False
    return outside
