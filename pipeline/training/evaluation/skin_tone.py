"""Skin tone of faces as individual typology angle, for slices of the test report.

The angle (ITA) is arctan((L* - 50) / b*) in degrees, of CIELAB under D65 (Chardon, Cretois and
Hourseau 1991, "Skin colour typology and suntanning pathways", International Journal of Cosmetic
Science 13(4), 191-208, which also gives the six classes; Merler et al. 2019, "Diversity in Faces",
measure it in photographs). Illumination and white balance change it: the same person has other
angles in other light. It therefore makes slices of images and is no statement about a person.
"""

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import REAL
from pipeline.training.store.reader import FaceStore

# Each class with its lower end in degrees (exclusive), from the lightest.
CLASSES = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -np.inf),
)
UNKNOWN_TONE = "unknown"
SKIN_TONES = (*(name for name, _ in CLASSES), UNKNOWN_TONE)
# Radius of a cheek patch as a fraction of its distance from the nose: it stays clear of nose and
# mouth, and shrinks on the far side of a face that is turned away.
PATCH_RADIUS = 0.35
# Less yellow than any skin: grey photographs and coloured light give no angle.
MIN_B = 2.0


def skin_tones(store: FaceStore) -> NDArray[np.str_]:
    """(faces,) names of SKIN_TONES."""
    return np.array([tone_of(angle) for angle in face_angles(store)])


def tone_of(angle: float) -> str:
    """Class of an angle in degrees; "unknown" for NaN."""
    return next((name for name, above in CLASSES if angle > above), UNKNOWN_TONE)


def face_angles(store: FaceStore) -> NDArray[np.float64]:
    """(faces,) angles in degrees, NaN where unknown.

    A real face is measured. The skin of a fake is not the person's: it has the angle of the real
    face in the same frame of its original, else the median of the real faces of its identity.
    """
    faces = store.faces
    real = (faces["label"] == REAL).to_numpy()
    angles = np.full(len(faces), np.nan)
    for face in np.flatnonzero(real):
        angles[face] = typology_angle(store.context(int(face)), store.keypoints(int(face)))
    measured = faces[real].assign(angle=angles[real]).dropna(subset="angle")
    by_frame = measured.groupby(["video_id", "frame_index"])["angle"].median()
    by_person = measured.groupby("identity_id")["angle"].median()
    fakes = faces[~real]
    originals = pd.MultiIndex.from_frame(fakes[["original_video_id", "frame_index"]])
    own = by_frame.reindex(originals).to_numpy()
    others = by_person.reindex(fakes["identity_id"]).to_numpy()
    angles[~real] = np.where(np.isnan(own), others, own)
    return angles


def typology_angle(rgb: ImageU8, keypoints: FloatArray | None) -> float:
    """Angle in degrees, -90 to 90, of both cheeks' median L* and b*; NaN if it cannot be measured.

    rgb: (H, W, 3) uint8 sRGB. keypoints: (5, 2) pixels: eyes, nose, corners of the mouth.
    """
    if keypoints is None:
        return np.nan
    skin = cheek_pixels(rgb, keypoints)
    if not len(skin):
        return np.nan
    # (n, 1, 3) float RGB in 0 to 1 -> L* 0 to 100, a*, b*; OpenCV's white is D65.
    lab = cv2.cvtColor(skin[:, None].astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)[:, 0]
    lightness, _, yellow = np.median(lab, axis=0)
    if yellow < MIN_B:
        return np.nan
    return float(np.degrees(np.arctan((lightness - 50) / yellow)))


def cheek_pixels(rgb: ImageU8, keypoints: FloatArray) -> ImageU8:
    """(n, 3) pixels of two discs, each halfway between an eye and the mouth's corner below it."""
    left_eye, right_eye, nose, left_mouth, right_mouth = np.asarray(keypoints, np.float64)
    rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    chosen = np.zeros(rgb.shape[:2], bool)
    for eye, mouth in ((left_eye, left_mouth), (right_eye, right_mouth)):
        x, y = (eye + mouth) / 2
        radius = PATCH_RADIUS * np.hypot(x - nose[0], y - nose[1])
        chosen |= np.hypot(columns - x, rows - y) <= radius
    return rgb[chosen]
