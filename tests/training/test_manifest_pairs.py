"""pipeline.training.pairs.images: pairs of a fake and the frame that it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from pipeline.core.arrays import ImageU8
from pipeline.training.pairs.images import PairImages, pair_part
from pipeline.training.pairs.sampler import Item
from pipeline.training.store.reader import FaceStore
from tests.support.packed_split import drawn_params
from tests.support.synthetic import DrawnFace, draw_face, swap_face

# x0, y0, x1, y1 of the contexts of the real face and of the fake, which has a box of its own.
WINDOWS = ((20, 10, 220, 190), (26, 4, 230, 184))


@dataclass(frozen=True, eq=False)
class CutImages:
    """Contexts cut out of frames, and the masks of some of them."""

    contexts: Sequence[ImageU8]
    masks: Sequence[ImageU8 | None]

    def crop(self, row: int) -> ImageU8:
        return self.contexts[row]

    def context(self, face: int) -> ImageU8:
        return self.contexts[face]

    def context_size(self, face: int) -> tuple[int, int]:
        height, width = self.contexts[face].shape[:2]
        return height, width

    def mask(self, face: int) -> ImageU8 | None:
        return self.masks[face]


@pytest.fixture(scope="module")
def store() -> FaceStore:
    """A real face and an INSwapper fake of the same frame, whose box is 3 px off."""
    face = draw_face(3, height=200, width=240, face_px=80)
    swapped, alpha = swap_face(face, 40)
    mask = np.asarray(255 * alpha, np.uint8)
    frames: list[tuple[ImageU8, ImageU8 | None]] = [(face.rgb, None), (swapped, mask)]
    contexts, masks, rows = [], [], []
    for (rgb, opacity), window, shift in zip(frames, WINDOWS, (0, 3), strict=True):
        x0, y0, x1, y1 = window
        contexts.append(rgb[y0:y1, x0:x1])
        masks.append(None if opacity is None else opacity[y0:y1, x0:x1])
        rows.append(_row(face, window, shift, is_fake=opacity is not None))
    table = pd.DataFrame(rows)
    return FaceStore(table, table, np.arange(2), CutImages(contexts, masks))


def _row(
    face: DrawnFace, window: tuple[int, int, int, int], shift: int, *, is_fake: bool
) -> dict[str, object]:
    names = ("box_x0", "box_y0", "box_x1", "box_y1")
    points = {
        f"kp{k}_{axis}": float(value) + shift
        for k, point in enumerate(face.keypoints)
        for axis, value in zip("xy", point, strict=True)
    }
    return {
        "label": int(is_fake),
        "is_inswapper": int(is_fake),
        "fake_type": "inswapper" if is_fake else "real",
        "group": "p",
        "crop_scale": 2.0,
        "boundary_label": int(is_fake),
        "context_x": window[0],
        "context_y": window[1],
        "context_scale": 1.0,
        **dict(zip(names, (face.box_xyxy + np.float32(shift)).tolist(), strict=True)),
        **points,
    }


REAL = Item(epoch=1, pair=0, face=0, variant="real", frame_of=1)
FAKE = Item(epoch=1, pair=0, face=1, variant="fake", frame_of=0)


def test_both_faces_show_the_same_part_of_the_frame(store: FaceStore) -> None:
    real, fake = pair_part(store, REAL), pair_part(store, FAKE)
    # The common part of both windows is 26..220 x 10..184.
    assert real.rgb.shape == fake.rgb.shape == (174, 194, 3)
    np.testing.assert_array_equal(real.box_xyxy, fake.box_xyxy)
    assert real.keypoints is not None
    assert fake.keypoints is not None
    np.testing.assert_array_equal(real.keypoints, fake.keypoints)
    assert fake.alpha is not None
    changed = (real.rgb != fake.rgb).any(axis=2)
    assert changed.mean() > 0.05
    assert not changed[fake.alpha == 0].any()


def test_a_face_without_partner_keeps_its_own_context(store: FaceStore) -> None:
    alone = pair_part(store, Item(epoch=1, pair=0, face=1, variant="fake"))
    assert alone.rgb.shape == store.context(1).shape
    np.testing.assert_array_equal(alone.box_xyxy, store.box(1))


def test_both_images_get_the_same_degradations(store: FaceStore) -> None:
    """Outside the paste the images agree, noise, size and crop included."""
    params = drawn_params(
        pseudo_swap={"soften_real_frac": 0.0, "soft_camera_frac": 0.0, "square_min_px": 64},
        augment={
            **dict.fromkeys(("jpeg_frac", "x264_frac", "gaussian_blur_frac", "sharpen_frac"), 0.0),
            "motion_blur_frac": 0.0,
            "noise_frac": 1.0,
            "colour_jitter_frac": 0.0,
            "clean_frac": 0.0,
        },
    )
    images = PairImages(store, params)
    shapes = set()
    for pair in range(12):
        real, fake = (
            images.pair_image(Item(epoch=1, pair=pair, face=f, variant=v, frame_of=1 - f))
            for f, v in ((0, "real"), (1, "fake"))
        )
        assert (real.is_fake, fake.is_fake, fake.is_inswapper) == (0, 1, 1)
        assert real.image.rgb.shape == fake.image.rgb.shape
        assert real.image.keypoints is not None
        assert fake.image.keypoints is not None
        np.testing.assert_array_equal(real.image.keypoints, fake.image.keypoints)
        shapes.add(real.image.rgb.shape)
        # The corner is outside the paste.
        np.testing.assert_array_equal(real.image.rgb[:2, :2], fake.image.rgb[:2, :2])
        assert (real.image.rgb != fake.image.rgb).any()
    assert len(shapes) > 3
