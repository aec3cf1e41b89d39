"""pipeline.views.boundary: where the seam's contrast and the noise are measured, to the pixel."""

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.views.boundary import difference_alpha, seam_contrast_sigma
from pipeline.views.paste import arcface_square, paste_alpha, soften_edge
from tests.pipeline.test_paste import FRAME_HW, place

GREY = np.full((*FRAME_HW, 3), 120, np.uint8)


def upright_paste() -> FloatArray:
    return paste_alpha(arcface_square(place(1, 0, 180, 150)), 128, FRAME_HW)


@pytest.mark.parametrize("step", [40, -40])
def test_a_darker_paste_stands_out_as_a_lighter_one(step: int) -> None:
    alpha = upright_paste()
    fake = np.rint(GREY + step * alpha[..., None]).astype(np.uint8)
    # Half of the step along the seam, where the noise is what rounding leaves: 0.05.
    assert seam_contrast_sigma(fake, GREY, alpha) == pytest.approx(22 / 0.05 / 0.2, rel=0.1)


def test_a_hard_mask_has_no_seam() -> None:
    hard = (upright_paste() > 0.5).astype(np.float32)
    fake = np.where(hard[..., None] > 0, np.uint8(200), GREY)
    assert seam_contrast_sigma(fake, GREY, hard) == 0


def rectangle(rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
    """A soft paste that touches exactly these rows and columns."""
    alpha = np.zeros(FRAME_HW, np.float32)
    alpha[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 0.5
    return alpha


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (np.s_[78], np.s_[77]),
        (np.s_[202], np.s_[203]),
        (np.s_[:, 123], np.s_[:, 122]),
        (np.s_[:, 247], np.s_[:, 248]),
    ],
    ids=["top", "bottom", "left", "right"],
)
def test_the_noise_is_that_of_a_quarter_around_the_paste(inside: slice, outside: slice) -> None:
    """80 rows and 80 columns between the outermost: a quarter of it and 2 px on each side."""
    alpha = rectangle((100, 180), (145, 225))
    fake = np.rint(GREY + 20 * alpha[..., None]).astype(np.uint8)
    plain = seam_contrast_sigma(fake, GREY, alpha)
    with_line = []
    for line in (inside, outside):
        changed = fake.copy()
        changed[line] = 255
        with_line.append(seam_contrast_sigma(changed, GREY, alpha))
    assert with_line[0] < plain / 2
    assert with_line[1] == plain


def test_the_guessed_mask_is_opaque_in_its_middle() -> None:
    fake: ImageU8 = np.rint(GREY + 60 * upright_paste()[..., None]).astype(np.uint8)
    guessed = difference_alpha(fake, GREY)
    assert guessed[150, 180] == guessed.max() == 1
    assert guessed.min() == 0


@pytest.mark.parametrize(("height", "width"), [(201, 201), (200, 202), (64, 64)])
def test_the_edge_is_softened_as_insightface_does(height: int, width: int) -> None:
    mask = np.zeros((300, 300), np.float32)
    mask[40 : 40 + height, 30 : 30 + width] = 255
    rows, columns = np.where(mask == 255)
    size = int(np.sqrt(np.ptp(rows) * np.ptp(columns)))
    kernel = np.ones((max(size // 10, 10),) * 2, np.uint8)
    blur = 2 * max(size // 20, 5) + 1
    expected = cv2.GaussianBlur(cv2.erode(mask, kernel), (blur, blur), 0)
    np.testing.assert_array_equal(soften_edge(mask), expected)
