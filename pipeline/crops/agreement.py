"""Whether a fake and its original show the same frame, judged by what is not swapped."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.views.boundary import smooth_power
from pipeline.views.preprocess import Preprocess

# A square of this many times the box's longer side contains a swapped face and its hair.
FACE_SCALE: Final = 1.5
# With less of the frame outside the faces there is nothing to compare.
MIN_OUTSIDE_FRAC: Final = 0.05
SHIFT_PX: Final = 2
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
    difference = float(smooth_power(fake_rgb, real_rgb)[outside].mean())
    down = smooth_power(real_rgb[SHIFT_PX:], real_rgb[:-SHIFT_PX])[outside[SHIFT_PX:]]
    across = smooth_power(real_rgb[:, SHIFT_PX:], real_rgb[:, :-SHIFT_PX])[outside[:, SHIFT_PX:]]
    shifted = float(np.concatenate([down, across]).mean()) if down.size else 0.0
    return float(np.sqrt(difference / (shifted + FLOOR**2)))


def _outside(
    rgb: ImageU8, boxes_xyxy: Iterable[FloatArray], alpha: FloatArray | None
) -> NDArray[np.bool_]:
    """(H, W): where no face and no paste is."""
    outside = np.ones(rgb.shape[:2], bool) if alpha is None else alpha == 0
    for box in boxes_xyxy:
        left, top, side = Preprocess.square(box, FACE_SCALE)
        outside[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = False
    return outside
