"""Dissolves: gradual transitions, in which every frame is a blend of two shots."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import ImageU8

Histogram = NDArray[np.float32]
Thumbnail = NDArray[np.float32]

# At this size (pixels), what moves within a shot hardly changes the image.
THUMBNAIL_SIDE = 16
# Number of frames on each side in which the shot must be steady. Also the delay of a decision.
STEADY = 5
# Distances in frames from the end of a dissolve at which its beginning is looked for.
LENGTHS = (6, 7, 8, 9, 10, 12, 14, 16, 18, 21, 24, 28, 32, 37, 43, 49, 56, 64, 74, 85, 98)
# Root mean square difference of the ends in grey levels. It is 45 or more between unrelated shots,
# 28 between two framings of one set, and 21 in a shot whose camera drifted and settled.
MIN_CHANGE = 25.0
# The weight of the second shot is 0 before and 1 after a dissolve, within this tolerance. It is
# less than the rise in STEADY frames of the longest dissolve, whose middle has no steady ends.
STEADY_WITHIN = 0.04
# The weight rises by at most MAX_STEP per frame, as with a single blend, by 1 at a hard cut. It
# falls by at most MAX_FALL, which excludes flash lights.
MAX_STEP = 0.6
MAX_FALL = 0.1
# Largest difference between a frame and the blend of both ends, relative to the difference of the
# ends. All 250 dissolves of 1 to 60 frames that were made of 11 real clips are below; in 55 clips
# without dissolves the smallest was 0.30, where a camera moved slowly and stopped. The limit was
# chosen on these clips.
MAX_RESIDUAL = 0.25
# The ends of the rise are extrapolated from where the weight crosses this and 1 minus this.
CROSSING = 0.1


@dataclass(frozen=True)
class Cut:
    """End of a shot before frame `stop`, and begin of the next one at frame `start`.

    They are equal at a hard cut; between them are the frames of a dissolve.
    """

    stop: int
    start: int


class DissolveFinder:
    """Finds dissolves in frames that are added in order.

    A dissolve is where both ends are steady and differ, and every frame between them is a linear
    blend of the two, with a rising weight of the second. Nothing else that changes an image as much
    is such a blend: camera motion is not linear, hard cuts jump and flash lights return.
    """

    def __init__(self, min_distance: float) -> None:
        """min_distance: smallest histogram distance, in (0, 1), of the shots at both ends."""
        self._min_distance = min_distance
        self._histograms: list[Histogram] = []
        self._thumbnails: list[Thumbnail] = []
        self._count = 0

    def add(self, bgr: ImageU8, histogram: Histogram) -> Cut | None:
        """Add a frame, (H, W, 3) uint8; return the dissolve that became certain with it."""
        size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        self._histograms.append(histogram)
        self._thumbnails.append(small.astype(np.float32).ravel())
        self._count += 1
        self.restart(self._count - LENGTHS[-1] - STEADY)
        found = self._dissolve()
        if found is not None:
            self.restart(found.start)
        return found

    def is_sudden(self, frame: int) -> bool:
        """Whether the image changes at this frame at once, not over several frames.

        Colours at the edge of a bin make histograms jump in the middle of a dissolve.
        """
        at = frame - (self._count - len(self._thumbnails))
        if at < 1:
            return True
        step = self._thumbnails[at] - self._thumbnails[at - 1]
        # Medians, because of flash lights.
        before = np.median(self._thumbnails[max(0, at - STEADY) : at], axis=0)
        after = np.median(self._thumbnails[at : at + STEADY], axis=0)
        return float(np.linalg.norm(step)) > MAX_STEP * float(np.linalg.norm(after - before))

    def restart(self, frame: int) -> None:
        """Look for dissolves only from this frame on."""
        before = max(0, frame - (self._count - len(self._histograms)))
        del self._histograms[:before], self._thumbnails[:before]

    def _dissolve(self) -> Cut | None:
        """The dissolve after which the last STEADY frames come, if there is one."""
        thumbnails, histograms = self._thumbnails, self._histograms
        end = len(histograms) - STEADY
        # Nearly all frames resemble the first one of their shot and are decided here.
        if end < LENGTHS[0] or not self._differ(histograms[0], histograms[end]):
            return None
        first_frame = self._count - len(histograms)
        for start in (end - length for length in LENGTHS if length <= end):
            if not self._differ(histograms[start], histograms[end]):
                continue
            ends = thumbnails[start : start + STEADY] + thumbnails[-STEADY:]
            if not _are_steady(np.stack(ends)):
                continue
            rise = _rise(np.stack(thumbnails[start:]))
            if rise is not None:
                return Cut(first_frame + start + rise[0], first_frame + start + rise[1])
        return None

    def _differ(self, first: Histogram, second: Histogram) -> bool:
        return float(np.abs(first - second).sum()) / 2 > self._min_distance


def _are_steady(ends: NDArray[np.float32]) -> bool:
    """Whether (2 * STEADY, pixels) frames, half from each end, differ and hardly change per end."""
    change = ends[-1] - ends[0]
    power = float(change @ change)
    if power < MIN_CHANGE**2 * change.size:
        return False
    weights = (ends - ends[0]) @ change / power
    weights[STEADY:] -= 1
    return float(np.abs(weights).max()) <= STEADY_WITHIN


def _rise(frames: NDArray[np.float32]) -> tuple[int, int] | None:
    """Range of blends between the first and the last of (n, pixels) frames, which differ.

    Returns the first blend and the first frame after them; None unless the frames are a dissolve.
    """
    change = frames[-1] - frames[0]
    power = float(change @ change)
    offsets = frames - frames[0]
    weights = offsets @ change / power  # (n,)
    steps = np.diff(weights)
    if steps.max() > MAX_STEP or steps.min() < -MAX_FALL:
        return None
    residuals = offsets - weights[:, None] * change
    if float(np.square(residuals).sum(axis=1).max()) > MAX_RESIDUAL**2 * power:
        return None
    inside = np.flatnonzero((weights > CROSSING) & (weights < 1 - CROSSING))
    if not inside.size:
        return None
    first, last = int(inside[0]), int(inside[-1])
    margin = round((last + 1 - first) / (1 - 2 * CROSSING) * CROSSING)
    return max(1, first - margin), min(len(frames) - 1, last + 1 + margin)
