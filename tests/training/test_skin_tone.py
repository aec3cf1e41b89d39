"""pipeline.training.evaluation.skin_tone: angles of patches of known colour, and who gets them."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.color import lab2rgb

from pipeline.core.arrays import ImageU8
from pipeline.training.evaluation.skin_tone import (
    CLASSES,
    SKIN_TONES,
    cheek_pixels,
    face_angles,
    skin_tones,
    tone_of,
    typology_angle,
)
from pipeline.training.store.reader import FaceStore
from pipeline.views.paste import TEMPLATE
from tests.support.face_stores import drawn_store

KEYPOINTS = np.float32(TEMPLATE)
# A colour in the middle of every class: L*, a*, b* and the angle by the formula.
COLOURS = {
    "very light": (78.0, 8.0, 14.0, 63.4),
    "light": (68.0, 11.0, 16.0, 48.4),
    "intermediate": (63.0, 12.0, 18.0, 35.8),
    "tan": (57.0, 13.0, 20.0, 19.3),
    "brown": (46.0, 14.0, 20.0, -11.3),
    "dark": (30.0, 10.0, 14.0, -55.0),
}


def patch(lightness: float, a: float, b: float, size: int = 128) -> ImageU8:
    """An image of one colour; scikit-image converts it, the module under test uses OpenCV."""
    rgb = lab2rgb(np.full((1, 1, 3), (lightness, a, b)), illuminant="D65")
    return np.full((size, size, 3), np.rint(255 * rgb), np.uint8)


@pytest.mark.parametrize("name", COLOURS)
def test_a_patch_of_known_colour_gets_its_angle_and_class(name: str) -> None:
    *lab, angle = COLOURS[name]
    found = typology_angle(patch(*lab), KEYPOINTS)
    assert found == pytest.approx(angle, abs=1.5)
    assert tone_of(found) == name


def test_the_classes_of_chardon() -> None:
    ends = [55, 41, 28, 10, -30]
    assert [tone_of(end + 0.1) for end in ends] == list(SKIN_TONES[:5])
    assert [tone_of(end) for end in ends] == list(SKIN_TONES[1:6])
    assert tone_of(np.nan) == "unknown"
    assert [name for name, _ in CLASSES] == list(COLOURS)


def test_only_the_cheeks_count() -> None:
    """Eyes, nose, mouth, hair and background have another colour than the skin."""
    rgb = patch(*COLOURS["dark"][:3])
    skin = patch(*COLOURS["light"][:3])
    rgb[62:82, 35:93] = skin[62:82, 35:93]  # the cheeks, with the nose between them
    rgb[60:84, 58:71] = 0
    assert tone_of(typology_angle(rgb, KEYPOINTS)) == "light"
    assert 80 < len(cheek_pixels(rgb, KEYPOINTS)) < 400


def test_the_far_cheek_of_a_turned_face_counts_less() -> None:
    """Its place is beside the face, on a bright background."""
    turned = KEYPOINTS.copy()
    turned[2] = (80, 72)  # the nose is next to the right cheek
    rgb = patch(*COLOURS["brown"][:3])
    rgb[:, 77:] = 255
    assert tone_of(typology_angle(rgb, turned)) == "brown"


def test_a_shadow_does_not_move_the_median() -> None:
    rgb = patch(*COLOURS["intermediate"][:3])
    rgb[:, 40:46] = 0
    assert tone_of(typology_angle(rgb, KEYPOINTS)) == "intermediate"


@pytest.mark.parametrize(
    ("rgb", "keypoints"),
    [
        (patch(60, 0, 0), KEYPOINTS),  # a grey photograph
        (patch(50, 10, -30), KEYPOINTS),  # blue light
        (patch(60, 10, 20), None),
        (patch(60, 10, 20), KEYPOINTS + 500),
    ],
)
def test_what_cannot_be_measured_is_unknown(rgb: ImageU8, keypoints: np.ndarray | None) -> None:
    assert np.isnan(typology_angle(rgb, keypoints))


@pytest.fixture
def store() -> FaceStore:
    """Two people of two frames, each with a swap; person 0 is light, then tan; person 1 is dark.

    Swaps show blue skin.
    """
    found = drawn_store(people=2, frames=2)
    tones = iter(("light", "tan", "dark", "dark"))
    contexts = [
        patch(*COLOURS[next(tones)][:3], size=300) if label == 0 else patch(50, 10, -30, size=300)
        for label in found.faces["label"]
    ]
    return replace(found, images=replace(found.images, contexts=contexts))


def test_a_fake_has_the_tone_of_its_originals_frame(store: FaceStore) -> None:
    faces, tones = store.faces, skin_tones(store)
    assert faces["label"].tolist() == [0, 1] * 4
    assert tones.tolist() == ["light", "light", "tan", "tan", *["dark"] * 4]


def test_else_that_of_its_person_else_unknown(store: FaceStore) -> None:
    faces = store.faces.copy()
    fakes = faces["label"] == 1
    faces.loc[fakes, "frame_index"] += 7
    angles = face_angles(replace(store, faces=faces))
    assert angles[1] == pytest.approx(np.median(angles[[0, 2]]))
    assert angles[5] == pytest.approx(angles[4])
    faces.loc[fakes, "identity_id"] = "stranger"
    assert skin_tones(replace(store, faces=faces))[1::2].tolist() == ["unknown"] * 4
