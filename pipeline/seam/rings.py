"""Texture energy per frequency band in square rings around the middle of the paste square.

INSwapper's face has at most 128-px texture, and its seam is a square that the keypoints determine.
The image is therefore warped to the scale of that square and split into bands, and the energy of
each band is summed per ring and sector around the square. Pure and mixed second derivatives are
summed the same way: a bilinear filter along the sides does not weaken both equally.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, FloatArray64, ImageU8
from pipeline.views.aligned import OUTSIDE_FROM, OUTSIDE_TO, aligned_view, view_matrix
from pipeline.views.paste import SQUARE_PX

# The paste square covers 256 of 344 px: two view pixels per pixel of INSwapper's face.
VIEW_PX: Final = 344
VIEW_SQUARE_PX: Final = 256
# In units of half the square's side. INSwapper's mask mixes paste and image equally at about 0.9.
RING_EDGES: Final = (
    *(0.0, 0.25, 0.45, 0.58, 0.68, 0.75, 0.81, 0.86, 0.91),
    *(OUTSIDE_FROM, 1.02, 1.1, 1.2, OUTSIDE_TO),
)
RINGS: Final = len(RING_EDGES) - 1
SIDES: Final = 4
SECTORS_PER_SIDE: Final = 4
SECTORS: Final = SIDES * SECTORS_PER_SIDE
INSIDE: Final = slice(2, 6)  # 0.45 to 0.81: only pasted texture
NEAR_SEAM: Final = slice(4, 7)  # 0.68 to 0.86
OUTSIDE: Final = slice(9, 13)  # 0.96 to 1.34: only untouched texture
# Standard deviations, in view pixels, of the Gaussians that limit the bands.
BAND_SIGMAS: Final = (0.0, 0.8, 1.2, 1.7, 2.4, 3.4, 4.8)
BANDS: Final = len(BAND_SIGMAS) - 1
# Two more maps: what a round trip through 128 px loses, with an area filter and with INSwapper's
# bilinear filter.
MAPS: Final = BANDS + 2
# Then curvature along the sides and mixed curvature, at each of these scales in view pixels.
CURVATURE_SIGMAS: Final = (1.2, 1.7, 2.4)
CURVATURES: Final = 2 * len(CURVATURE_SIGMAS)
ALL_MAPS: Final = MAPS + CURVATURES
CELL_PX: Final = VIEW_PX // 2
# Rounding noise of 8 bits in a band, in grey levels squared.
NOISE: Final = 0.02


def _cell_bins() -> NDArray[np.int64]:
    """(CELL_PX ** 2,): ring * SECTORS + sector of every cell.

    Sectors are numbered along the top, right, bottom and left side, each from left to right or top
    to bottom.
    """
    steps = (np.arange(CELL_PX) - (CELL_PX - 1) / 2) / (VIEW_SQUARE_PX / 4)
    x, y = np.meshgrid(steps, steps)  # (CELL_PX, CELL_PX), in half sides of the square
    reach = np.maximum(np.abs(x), np.abs(y))
    ring = np.digitize(reach, RING_EDGES) - 1
    is_flank = np.abs(x) > np.abs(y)
    side = np.where(is_flank, np.where(x > 0, 1, 3), np.where(y > 0, 2, 0))
    along = (np.where(is_flank, y, x) / reach + 1) / 2
    sector = np.minimum((SECTORS_PER_SIDE * along).astype(np.int64), SECTORS_PER_SIDE - 1)
    return np.asarray((ring * SECTORS + side * SECTORS_PER_SIDE + sector).ravel(), np.int64)


_CELL_BINS: Final = _cell_bins()
# Number of cells outside the square in a view that lies completely inside the image.
OUTSIDE_CELLS: Final = float(np.bincount(_CELL_BINS).reshape(RINGS, SECTORS)[OUTSIDE].sum())


def ring_statistics(rgb: ImageU8, keypoints: FloatArray) -> FloatArray:
    """Sums over the 2x2-px cells of each ring and sector: (2 * ALL_MAPS + 1, RINGS, SECTORS).

    rgb: (H, W, 3) uint8. keypoints: (5, 2) pixels. Returns float32: the first ALL_MAPS rows are
    mean squares, the next ALL_MAPS logarithms of local mean squares, the last row is the number of
    cells inside the image. Raises ValueError for unusable keypoints.
    """
    view = aligned_view(rgb, keypoints, VIEW_PX, VIEW_SQUARE_PX)
    grey = cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)  # (VIEW_PX, VIEW_PX)
    maps = [*_bands(grey), grey - _through_square(grey), grey - _through_inswapper(rgb, keypoints)]
    energies = [*(np.square(m) for m in maps), *_curvatures(grey)]  # ALL_MAPS x (VIEW_PX, VIEW_PX)
    cells = (CELL_PX, CELL_PX)
    squares = [cv2.resize(energy, cells, interpolation=cv2.INTER_AREA) for energy in energies]
    logs = [cv2.log(cv2.blur(square, (3, 3)) + np.float32(NOISE)) for square in squares]
    valid = view.valid[::2, ::2].astype(np.float32)  # (CELL_PX, CELL_PX)
    rows = [(part * valid).ravel() for part in (*squares, *logs, np.ones_like(valid))]
    # No matrix product: BLAS threads of two processes on two cores take 0.4 s instead of 1 ms.
    sums = [np.bincount(_CELL_BINS, weights=row, minlength=RINGS * SECTORS) for row in rows]
    return np.asarray(sums, np.float32).reshape(-1, RINGS, SECTORS)


def _bands(grey: FloatArray) -> list[FloatArray]:
    """Differences of Gaussians, finest first: BANDS x (H, W)."""
    blurred = [grey, *(cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in BAND_SIGMAS[1:])]
    return [np.asarray(fine - coarse, np.float32) for fine, coarse in pairwise(blurred)]


def _curvatures(grey: FloatArray) -> list[FloatArray]:
    """Squared second derivatives of Gaussians, CURVATURES x (H, W): pure, then mixed, per scale."""
    energies = []
    for sigma in CURVATURE_SIGMAS:
        smooth, slope, bend = _derivatives(sigma)
        along_x = cv2.sepFilter2D(grey, cv2.CV_32F, bend, smooth)
        along_y = cv2.sepFilter2D(grey, cv2.CV_32F, smooth, bend)
        mixed = cv2.sepFilter2D(grey, cv2.CV_32F, slope, slope)
        energies += [np.square(along_x) + np.square(along_y), np.square(mixed)]
    return [np.asarray(energy, np.float32) for energy in energies]


def _derivatives(sigma: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Kernels of a Gaussian and its first two derivatives; the absolute values of each sum to 1."""
    size = int(8 * sigma) | 1
    smooth = cv2.getGaussianKernel(size, sigma)[:, 0]
    steps = np.arange(size) - size // 2
    bend = (steps**2 / sigma**2 - 1) * smooth
    kernels = smooth, -steps * smooth, bend - bend.mean()
    smooth, slope, bend = (kernel / np.abs(kernel).sum() for kernel in kernels)
    return smooth, slope, bend


def _through_square(grey: FloatArray) -> FloatArray:
    """The view after an ideal round trip through the resolution of a 128-px square."""
    size = VIEW_PX * SQUARE_PX // VIEW_SQUARE_PX
    small = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(small, (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.float32)


def _through_inswapper(rgb: ImageU8, keypoints: FloatArray) -> FloatArray:
    """The view after INSwapper's own bilinear warps to 128 px and back."""
    size = VIEW_PX * SQUARE_PX // VIEW_SQUARE_PX
    matrix = view_matrix(keypoints, size, SQUARE_PX)
    source = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.warpAffine(source, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    scale = VIEW_SQUARE_PX / SQUARE_PX
    enlarge = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
    back = cv2.warpAffine(small, enlarge, (VIEW_PX, VIEW_PX), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(back, np.float32)


# power: logarithm of the mean square, dominated by edges. log: mean of the logarithm.
Kind = Literal["power", "log"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# Number of cells below which a level is unknown.
MIN_CELLS: Final = 25.0
SECTOR_MIN_CELLS: Final = 12.0
_FLOOR: Final = 0.02


@dataclass(frozen=True)
class Levels:
    """Half logarithms of energy of n faces; NaN where too few cells are inside the image.

    ring: (n, MAPS, RINGS). outside, inside: (n, MAPS). side_outside, side_inside: (n, MAPS, SIDES).
    sector_outside, sector_inside: (n, ALL_MAPS, SECTORS), where inside is only next to the seam.
    """

    ring: FloatArray64
    outside: FloatArray64
    inside: FloatArray64
    side_outside: FloatArray64
    side_inside: FloatArray64
    sector_outside: FloatArray64
    sector_inside: FloatArray64


def band_levels(statistics: FloatArray, kind: Kind) -> Levels:
    """(n, 2 * ALL_MAPS + 1, RINGS, SECTORS) -> levels; +0.35 is a factor of 2 in energy."""
    sums = np.asarray(statistics, np.float64)
    first = 0 if kind == "power" else ALL_MAPS
    counts = sums[:, -1:]  # (n, 1, RINGS, SECTORS)
    sectors = sums[:, first : first + ALL_MAPS]  # (n, ALL_MAPS, RINGS, SECTORS)

    def level(
        maps: FloatArray64, counts: FloatArray64, axes: int | tuple[int, ...], min_cells: float
    ) -> FloatArray64:
        count, total = counts.sum(axis=axes), maps.sum(axis=axes)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count >= min_cells, total / count, np.nan)
        return np.asarray(0.5 * (np.log(mean + _FLOOR) if kind == "power" else mean))

    def of_rings(rings: slice, axes: int | tuple[int, ...]) -> FloatArray64:
        return level(_sides(sectors[:, :MAPS, rings]), _sides(counts[:, :, rings]), axes, MIN_CELLS)

    def of_sectors(rings: slice) -> FloatArray64:
        return level(sectors[:, :, rings], counts[:, :, rings], 2, SECTOR_MIN_CELLS)

    return Levels(  # axes: 2 is rings, 3 is sides
        ring=of_rings(slice(None), 3),
        outside=of_rings(OUTSIDE, (2, 3)),
        inside=of_rings(INSIDE, (2, 3)),
        side_outside=of_rings(OUTSIDE, 2),
        side_inside=of_rings(INSIDE, 2),
        sector_outside=of_sectors(OUTSIDE),
        sector_inside=of_sectors(NEAR_SEAM),
    )


def _sides(sectors: FloatArray64) -> FloatArray64:
    """(n, k, rings, SECTORS) -> (n, k, rings, SIDES) sums."""
    by_side: FloatArray64 = sectors.reshape(*sectors.shape[:3], SIDES, SECTORS_PER_SIDE).sum(axis=4)
    return by_side
