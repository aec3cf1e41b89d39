"""Image quality of a face, measured so that a swap changes it as little as possible.

INSwapper's face has a resolution of about 90 px over the height of the box and no camera noise.
Sharpness is therefore measured at a lower resolution, and noise and block edges are measured around
the paste if there are enough pixels. quality_label: 0 pristine, 1 moderate, 2 heavy.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.files import six_digits
from pipeline.runtime.errors import ManifestError
from pipeline.views.paste import Rect

SHARPNESS_SIDE_PX: Final = 40
BLOCK_PX: Final = 8
# Sides of INSwapper's square relative to the face box, measured.
PASTE_WIDTH: Final = 1.65
PASTE_HEIGHT: Final = 1.42
REGION_SCALE: Final = 2.2
# Below this many pixels around the paste, the whole region is measured.
MIN_AROUND_PX: Final = 1024
# Immerkaer's mask multiplies the noise by 6; the median of |x| of a unit normal is 0.6745.
IMMERKAER_GAIN: Final = 6.0
NORMAL_MEDIAN: Final = 0.6745

# Values better than these are never labelled moderate, however good the real faces are.
HARMLESS: Final = {"face_px": 192.0, "sharpness": np.inf, "blockiness": 0.1, "noise_level": 2.0}
HIGHER_IS_WORSE: Final = ("blockiness", "noise_level")


@dataclass(frozen=True)
class QualityMeasures:
    """Measures that determine the quality label.

    face_px: longer side of the box. sharpness: variance of the Laplacian of the face at 40 px, in
    squared grey levels. blockiness: excess of the steps on the 8-px grid over their neighbours, 0
    for none, about 1 for JPEG 10. noise_level: standard deviation of the noise in grey levels.
    """

    face_px: float
    sharpness: float
    blockiness: float
    noise_level: float


@dataclass(frozen=True)
class QualityThresholds:
    """For each measure, the limits beyond which a face is moderate and heavy."""

    face_px: tuple[float, float]
    sharpness: tuple[float, float]
    blockiness: tuple[float, float]
    noise_level: tuple[float, float]

    def to_dict(self) -> dict[str, list[float]]:
        return {name: list(pair) for name, pair in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "QualityThresholds":
        """Inverse of `to_dict`; raises ManifestError unless every measure is a pair of numbers."""
        try:
            pairs = {field.name: values[field.name] for field in fields(cls)}
            return cls(**{name: (float(low), float(high)) for name, (low, high) in pairs.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(
                f"quality thresholds: expected a pair of numbers for each measure ({error})"
            ) from error


def measure_quality(rgb: ImageU8, box_xyxy: FloatArray) -> QualityMeasures:
    """Measure one face of a (H, W, 3) uint8 image at its own resolution.

    box_xyxy: (4,) pixels; may extend beyond the image, but must overlap it.
    Raises ValueError when the box lies outside the image.
    """
    sides = box_xyxy[2:] - box_xyxy[:2]
    longer = float(max(sides))
    face = _part(rgb, _clipped(box_xyxy, rgb))
    region = _clipped(_resized(box_xyxy, longer * REGION_SCALE), rgb)
    grey = _grey(_part(rgb, region))
    around = np.ones((region.height, region.width), bool)  # like grey: True outside the paste
    paste = _clipped(_resized(box_xyxy, sides * (PASTE_WIDTH, PASTE_HEIGHT)), rgb)
    rows = slice(paste.top - region.top, paste.bottom - region.top)
    columns = slice(paste.left - region.left, paste.right - region.left)
    around[rows, columns] = False
    if np.count_nonzero(around) < MIN_AROUND_PX:
        around[:] = True
    return QualityMeasures(
        face_px=longer,
        sharpness=laplacian_variance(_grey(face)),
        blockiness=blockiness(grey, around),
        noise_level=noise_sigma(grey, around),
    )


def fit_quality(
    measures: Sequence[QualityMeasures], quantiles: Sequence[float]
) -> QualityThresholds:
    """Thresholds at two quantiles of each measure of REAL faces, on the worse side.

    quantiles: (moderate, heavy), each in (0, 1): 0.25 labels the worst quarter of the real faces by
    one measure at least moderate, except for values better than HARMLESS. Raises ValueError when
    there are no measures.
    """
    if not measures:
        raise ValueError("quality thresholds need at least one real face")
    return QualityThresholds(
        **{
            field.name: _fitted(field.name, measures, quantiles)
            for field in fields(QualityMeasures)
        }
    )


def quality_label(measures: QualityMeasures, thresholds: QualityThresholds) -> Literal[0, 1, 2]:
    """2 if any measure is beyond its heavy threshold, 1 if beyond the moderate one, else 0."""
    values, limits = asdict(measures), thresholds.to_dict()
    worse = [
        [_beyond(name, values[name], limit) for limit in limits[name]] for name in sorted(values)
    ]
    if any(heavy for _, heavy in worse):
        return 2
    return 1 if any(moderate for moderate, _ in worse) else 0


def laplacian_variance(grey: ImageU8) -> float:
    """Variance of the Laplacian of an (H, W) uint8 image, resized to 40 px on its longer side."""
    scale = SHARPNESS_SIDE_PX / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(grey, size, interpolation=interpolation)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def noise_sigma(grey: ImageU8, where: NDArray[np.bool_]) -> float:
    """Standard deviation of the noise in grey levels, by Immerkaer's mask (1996).

    The median of the responses is used, so that edges have no effect. where: (H, W) bool, pixels to
    measure.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))[where]
    return float(np.median(response)) / (NORMAL_MEDIAN * IMMERKAER_GAIN)


def blockiness(grey: ImageU8, where: NDArray[np.bool_]) -> float:
    """Excess of the steps on the strongest 8-px grid, relative to the mean step; 0 for none.

    where: (H, W) bool, pixels to measure.
    """
    both = [_grid_excess(grey, where), _grid_excess(grey.T, where.T)]
    return max(0.0, sum(both) / 2)


def _grid_excess(grey: ImageU8, where: NDArray[np.bool_]) -> float:
    """Excess of the steps between columns over neighbouring steps, in the strongest of 8 phases."""
    step = cv2.absdiff(grey[:, 1:], grey[:, :-1]).astype(np.float32)  # (H, W - 1)
    if step.shape[1] < 2 * BLOCK_PX:
        return 0.0
    excess = step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2  # (H, W - 3)
    counted = where[:, 1:-2]
    sums = (excess * counted).sum(axis=0, dtype=np.float64)  # (W - 3,)
    phases = np.arange(sums.size) % BLOCK_PX
    per_phase = np.bincount(phases, sums, BLOCK_PX)  # (8,)
    counts = np.bincount(phases, counted.sum(axis=0), BLOCK_PX)
    means = per_phase / np.maximum(counts, 1)
    mean_step = float(step[where[:, 1:]].mean()) if where[:, 1:].any() else 0.0
    return float(means.max() - np.median(means)) / (mean_step + 1)


def _fitted(
    name: str, measures: Sequence[QualityMeasures], quantiles: Sequence[float]
) -> tuple[float, float]:
    values = [getattr(measure, name) for measure in measures]
    if name in HIGHER_IS_WORSE:
        limits = [max(float(np.quantile(values, 1 - q)), HARMLESS[name]) for q in quantiles]
    else:
        limits = [min(float(np.quantile(values, q)), HARMLESS[name]) for q in quantiles]
    moderate, heavy = map(six_digits, limits)  # as written to quality.json
    return moderate, heavy


def _beyond(name: str, value: float, limit: float) -> bool:
    return value > limit if name in HIGHER_IS_WORSE else value < limit


def _grey(rgb: ImageU8) -> ImageU8:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _resized(box_xyxy: FloatArray, sides: FloatArray | float) -> FloatArray:
    """The box with other sides and the same centre."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = np.asarray(sides, np.float32) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _clipped(box_xyxy: FloatArray, rgb: ImageU8) -> Rect:
    """The box rounded to whole pixels and clipped to the image; may be empty."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = (round(float(value)) for value in box_xyxy)
    return Rect(max(0, x0), max(0, y0), min(width, x1), min(height, y1))


def _part(rgb: ImageU8, rect: Rect) -> ImageU8:
    """Pixels of a rectangle; raises ValueError when it is empty."""
    if rect.width <= 0 or rect.height <= 0:
        raise ValueError(f"the face box lies outside the image of {rgb.shape[1]}x{rgb.shape[0]}")
    return rgb[rect.slices]
