"""Takes of a person in the sample: photos and footage, with the detected face."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import FaceDetector, find_faces
from pipeline.runtime.errors import PackageError
from pipeline.runtime.sections import BuildSampleParams
from pipeline.training.sample.film import Subject, mirrored, scaled
from pipeline.training.sample.sources import Person, read_footage, read_photo
from pipeline.training.swaps.pseudo_swap import Donor

MIN_SCORE: Final = 0.5
MIN_SOURCE_FACE_PX: Final = 40
# Keypoints are rounded to quarters of a pixel, as their last bits differ between processors.
KEYPOINT_STEPS: Final = 4
MAX_ENLARGEMENT: Final = 1.1


@dataclass(frozen=True, eq=False)
class Take:
    """Images of one person, a single one for a still. face_px: face height in the first image."""

    name: str
    images: tuple[ImageU8, ...]
    keypoints: tuple[FloatArray, ...]
    face_px: float

    @property
    def donor(self) -> Donor:
        """First image and its keypoints, as the source of swaps."""
        return self.images[0], self.keypoints[0]

    def subjects(self, scale: float, *, mirror: bool = False) -> list[Subject]:
        """All images with their keypoints, resized by `scale`, and mirrored if `mirror`."""
        pairs = zip(self.images, self.keypoints, strict=True)
        resized = [scaled(Subject(rgb, keypoints), scale) for rgb, keypoints in pairs]
        return [mirrored(subject) for subject in resized] if mirror else resized


def takes_of(person: Person, length: int, detector: FaceDetector) -> list[Take]:
    """All takes of a person: photos, and parts of footage of `length` frames.

    Raises PackageError if an image shows no face.
    """
    takes = []
    for photo in person.photos:
        takes.append(_take(photo.origin.member, [read_photo(photo)], detector))
    if person.footage is not None:
        member = person.footage.origin.member
        for start in person.footage.starts:
            frames = read_footage(person.footage, start, length)
            takes.append(_take(f"{member} at frame {start}", frames, detector))
    return takes


def _take(name: str, images: Sequence[ImageU8], detector: FaceDetector) -> Take:
    keypoints, sizes = [], []
    for rgb in images:
        faces = find_faces(
            detector, rgb, min_score=MIN_SCORE, min_face_px=MIN_SOURCE_FACE_PX, max_faces=1
        )
        if not faces or faces[0].keypoints is None:
            raise PackageError(f"{name}: no face was found")
        rounded = np.rint(faces[0].keypoints * KEYPOINT_STEPS) / KEYPOINT_STEPS
        keypoints.append(rounded.astype(np.float32))
        sizes.append(round(faces[0].size_px))
    return Take(name, tuple(images), tuple(keypoints), float(sizes[0]))


def scale_for(take: Take, face_px: float, params: BuildSampleParams) -> float:
    """Scale that gives a face of `face_px`, limited to MAX_ENLARGEMENT.

    Raises PackageError if the face then stays below params.min_face_px.
    """
    scale = min(face_px / take.face_px, MAX_ENLARGEMENT)
    if scale * take.face_px < params.min_face_px:
        raise PackageError(
            f"{take.name}: its face is {take.face_px:.0f} px tall; enlarged {MAX_ENLARGEMENT} times"
            f" it stays below build_sample.min_face_px {params.min_face_px}"
        )
    return scale
