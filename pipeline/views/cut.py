"""The views of a face that the network scores: box crops by scale, then the aligned view."""

import numpy as np
from numpy.typing import ArrayLike

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.views.aligned import aligned_view, surroundings_frac
from pipeline.views.paste import require_keypoints
from pipeline.views.preprocess import Preprocess

ALIGNED = "aligned"
# The seam lies inside this crop and outside the smaller one (97 % of the seam, on 32 frames).
SEAM_SCALE = 1.5


def view_names(preprocess: Preprocess) -> list[str]:
    """Names of the views in order: `1.5x` for a crop scale, then `aligned`."""
    names = [f"{scale:g}x" for scale in preprocess.scales]
    return [*names, ALIGNED] if preprocess.aligned else names


def seam_view(preprocess: Preprocess) -> int:
    """Index of the view whose seam map is shown to people: one that contains the whole seam."""
    if preprocess.aligned:
        return len(preprocess.scales)
    return int(np.abs(np.asarray(preprocess.scales) - SEAM_SCALE).argmin())


def cut_view(
    preprocess: Preprocess,
    index: int,
    rgb: ImageU8,
    box_xyxy: FloatArray,
    keypoints: FloatArray | None,
) -> ImageU8:
    """One view of a face, (size, size, 3) uint8, by its index in `view_names`.

    rgb: (H, W, 3) uint8. box_xyxy: (4,) and keypoints: (5, 2), pixels of rgb.
    Raises DetectorError when the aligned view is asked for without keypoints.
    """
    if index < len(preprocess.scales):
        return preprocess.crop(rgb, box_xyxy, preprocess.scales[index])
    return aligned_view(rgb, require_keypoints(keypoints), preprocess.size_px).rgb


def cut_views(
    preprocess: Preprocess, rgb: ImageU8, box_xyxy: FloatArray, keypoints: FloatArray | None
) -> ImageU8:
    """All views of a face, (views, size, size, 3) uint8; arguments as in `cut_view`."""
    count = len(view_names(preprocess))
    return np.stack([cut_view(preprocess, k, rgb, box_xyxy, keypoints) for k in range(count)])


def surroundings_of(
    box_xyxy: ArrayLike, keypoints: FloatArray | None, height: int, width: int
) -> float:
    """Fraction in [0, 1] of a face's surroundings inside an image of height x width pixels.

    With keypoints, the surroundings are the ring around INSwapper's paste square; with only a box
    (4,), the part of the 1.5x square outside the box.
    """
    if keypoints is not None:
        return surroundings_frac(keypoints, height, width)
    left, top, side = Preprocess.square(np.asarray(box_xyxy, dtype=np.float32), SEAM_SCALE)
    inside_x = max(0, min(left + side, width) - max(left, 0))
    inside_y = max(0, min(top + side, height) - max(top, 0))
    # A face that fills its image still shows 1 / 1.5 ** 2 of the square.
    minimum = 1 / SEAM_SCALE**2
    return float(max(0.0, (inside_x * inside_y / side**2 - minimum) / (1 - minimum)))
