"""The face detector interface and the search that uses it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8

NMS_IOU = 0.4
# With a border of half the longer side, a face that fills the image takes half of the input's side.
PAD_FRAC = 0.5
# Smallest visible fraction of a box. With a black border, the network can take a whole textured
# wall for a head: half of the drawn walls in the tests gave boxes with 0.3 inside the image. Boxes
# of real faces have 0.7 or more inside.
MIN_VISIBLE = 0.6
# Keypoints are most accurate when the face takes half of a 320-px crop. Measured on 180 photos
# against another detector, in units of the distance between the eyes: median error 0.04 at any face
# size, 0.05 to 0.09 without this crop.
CROP_PX = 320
CROP_FRAC = 0.5
# Heights and widths, ascending by area. A square around a 16:9 frame would be 44 % padding.
# insightface keeps a session of some 30 MB for each shape it has processed.
INPUT_SHAPES = ((320, 320), (384, 640), (640, 384), (480, 640), (640, 480), (640, 640))
MIN_OVERLAP = 0.4


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, in pixels of the image.

    box_xyxy: (4,) float32; may extend beyond the image. keypoints: (5, 2) float32 as x, y: left
    eye, right eye, nose, left and right corner of the mouth, left and right as seen in the image
    (ArcFace's order); None for detectors without keypoints. score: in [0, 1].
    """

    box_xyxy: FloatArray
    keypoints: FloatArray | None
    score: float

    @property
    def width_px(self) -> float:
        return float(self.box_xyxy[2] - self.box_xyxy[0])

    @property
    def height_px(self) -> float:
        return float(self.box_xyxy[3] - self.box_xyxy[1])

    @property
    def size_px(self) -> float:
        """Longer side of the box."""
        return max(self.width_px, self.height_px)

    def moved(self, x: float, y: float) -> "Face":
        """The same face in an image whose origin is at (-x, -y) of this one."""
        shift = np.array([x, y], np.float32)
        points = None if self.keypoints is None else self.keypoints + shift
        return Face(self.box_xyxy + np.tile(shift, 2), points, self.score)

    def scaled(self, factor: float) -> "Face":
        """The same face in an image enlarged by `factor`."""
        gain = np.float32(factor)
        points = None if self.keypoints is None else self.keypoints * gain
        return Face(self.box_xyxy * gain, points, self.score)


class FaceDetector(Protocol):
    """Finds faces in one image. name: written to the manifests."""

    name: str

    def detect(self, rgb: ImageU8) -> list[Face]:
        """Faces of a (H, W, 3) uint8 image, in no particular order; empty when there are none."""
        ...


def find_faces(
    detector: FaceDetector, rgb: ImageU8, *, min_score: float, min_face_px: float, max_faces: int
) -> list[Face]:
    """Find at most `max_faces` faces of an image, largest first.

    rgb: (H, W, 3) uint8. min_score: in [0, 1]. min_face_px: minimum longer side of the box. Most
    detectors miss faces that fill the image, so an image without a face is searched again with a
    black border around it. Boxes are not clipped to the image. Equal areas are ordered by position,
    so the result depends on the image only.
    """

    def wanted(faces: list[Face]) -> list[Face]:
        good = [face for face in faces if face.score >= min_score and face.size_px >= min_face_px]
        return sorted(good, key=_largest_first)[:max_faces]

    faces = wanted(detector.detect(rgb)) or wanted(_detect_padded(detector, rgb))
    return wanted([_refined(detector, rgb, face) for face in faces])


def keep_best(
    boxes_xyxy: FloatArray, scores: FloatArray, points: FloatArray | None, min_score: float
) -> list[Face]:
    """Non-maximum suppression of (n, 4) boxes, (n,) scores and (n, 5, 2) keypoints or None."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    boxes_xywh = np.concatenate([boxes_xyxy[:, :2], sides], axis=1)
    selected = cv2.dnn.NMSBoxes(boxes_xywh.tolist(), scores.tolist(), min_score, NMS_IOU)
    return [
        Face(
            box_xyxy=boxes_xyxy[index].astype(np.float32),
            keypoints=None if points is None else points[index].astype(np.float32),
            score=float(np.clip(scores[index], 0, 1)),
        )
        for index in np.asarray(selected, np.int64).ravel()
    ]


def letterbox(rgb: ImageU8, width: int, height: int) -> tuple[ImageU8, float]:
    """Scale an image into the upper left of a black (height, width, 3) image.

    Returns the result and the scale; divide coordinates in the result by the scale to get
    coordinates in the image.
    """
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    inner = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    boxed = np.zeros((height, width, 3), np.uint8)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    boxed[: inner[1], : inner[0]] = cv2.resize(rgb, inner, interpolation=interpolation)
    return boxed, scale


def input_shape(shape_hw: Sequence[int]) -> tuple[int, int]:
    """Height and width of the network's input for an image: the smallest shape that fits.

    The longer side is 320 px if the image is no larger, else 640 px: a smaller input would miss
    small faces (at 320 px, 15 % of the 40-px faces in 480-px images).
    """
    height, width = shape_hw[:2]
    longer = max(height, width)
    side = next(
        (max(shape) for shape in INPUT_SHAPES if max(shape) >= longer), max(INPUT_SHAPES[-1])
    )
    return next(
        (rows, columns)
        for rows, columns in INPUT_SHAPES
        if max(rows, columns) == side
        and height * side <= rows * longer
        and width * side <= columns * longer
    )


def _detect_padded(detector: FaceDetector, rgb: ImageU8) -> list[Face]:
    """Faces found with a border around the image, of which MIN_VISIBLE or more is in the image."""
    height, width = rgb.shape[:2]
    pad = round(PAD_FRAC * max(height, width))
    bordered: NDArray[np.uint8] = np.pad(rgb, ((pad, pad), (pad, pad), (0, 0)))
    faces = [face.moved(-pad, -pad) for face in detector.detect(bordered)]
    return [face for face in faces if _visible_frac(face, height, width) >= MIN_VISIBLE]


def _refined(detector: FaceDetector, rgb: ImageU8, face: Face) -> Face:
    """The face as detected in a crop of fixed size, or unchanged if it is not found there.

    Box and keypoints then no longer depend on the size of the face in the image.
    """
    if face.keypoints is None:
        return face
    side = max(2, round(face.size_px / CROP_FRAC))
    left, top = (round(float(middle) - side / 2) for middle in _middle(face))
    crop, scale = letterbox(_crop(rgb, left, top, side), CROP_PX, CROP_PX)
    found = [seen.scaled(1 / scale).moved(left, top) for seen in detector.detect(crop)]
    best = max(found, key=lambda seen: _overlap(seen, face), default=face)
    return replace(best, score=face.score) if _overlap(best, face) >= MIN_OVERLAP else face


def _crop(rgb: ImageU8, left: int, top: int, side: int) -> ImageU8:
    """The square at (left, top), black outside the image."""
    height, width = rgb.shape[:2]
    rows = slice(max(0, top), min(height, top + side))
    columns = slice(max(0, left), min(width, left + side))
    square = np.zeros((side, side, 3), np.uint8)
    inside = square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    inside[:] = rgb[rows, columns]
    return square


def _middle(face: Face) -> FloatArray:
    return (face.box_xyxy[:2] + face.box_xyxy[2:]) / np.float32(2)


def _overlap(one: Face, other: Face) -> float:
    """Intersection over union of the boxes."""
    low = np.maximum(one.box_xyxy[:2], other.box_xyxy[:2])
    high = np.minimum(one.box_xyxy[2:], other.box_xyxy[2:])
    intersection = float(np.prod(np.maximum(high - low, 0)))
    union = one.width_px * one.height_px + other.width_px * other.height_px - intersection
    return intersection / max(union, 1e-6)


def _visible_frac(face: Face, height: int, width: int) -> float:
    """Fraction of the box's area inside an image of height x width pixels."""
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    inner_width = max(0.0, min(x1, width) - max(x0, 0.0))
    inner_height = max(0.0, min(y1, height) - max(y0, 0.0))
    area = max(face.width_px * face.height_px, 1e-6)
    return inner_width * inner_height / area


def _largest_first(face: Face) -> tuple[float, ...]:
    return (-face.width_px * face.height_px, *map(float, face.box_xyxy))
