"""The faces of a frame: selection of the swapped ones, and sources of boundary labels."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.arrays import ImageU8
from pipeline.media.images import read_mask
from tests.support.synthetic import DrawnFace, alpha_u8, draw_face, swap_face, write_rgb
from tests.support.written_frames import (
    FAKE,
    UNIFACE,
    box_of,
    crop,
    fakes,
    put,
    put_fake,
    put_real,
    stored,
    with_mask,
)

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def wide_mask(drawn: DrawnFace) -> ImageU8:
    """A soft square with 1.3 times the side of the box that the detector finds, about 117 px."""
    x, y = (drawn.box_xyxy[:2] + drawn.box_xyxy[2:]).astype(int) // 2
    mask = np.zeros(drawn.rgb.shape[:2], np.uint8)
    mask[y - 76 : y + 76, x - 76 : x + 76] = 255
    return np.asarray(cv2.GaussianBlur(mask, (11, 11), 0), np.uint8)


def test_a_mask_gives_exact_boundary_labels_and_a_tight_crop_misses_the_seam() -> None:
    drawn = draw_face(0)
    frames = [put_real(drawn), with_mask(put_fake(drawn), wide_mask(drawn))]
    rows = fakes(crop(frames, boundary_min_sigma=0.01))
    assert [row.boundary_label for row in rows] == [0, 1, 1]
    assert {row.boundary_source for row in rows} == {"exact"}
    mask = read_mask(Path("data/frames/inswapper/p0/4.mask.png"), drawn.rgb.shape[:2])
    cut = stored(rows[0].mask_path)[:, :, 0]
    x, y = int(rows[0].context_x), int(rows[0].context_y)
    np.testing.assert_array_equal(cut, mask[y : y + cut.shape[0], x : x + cut.shape[1]])


@pytest.mark.parametrize(
    ("kind", "original", "source"),
    [(FAKE, "p0", "paired"), (FAKE, "", "geometric"), (UNIFACE, "", "none")],
    ids=["original known", "keypoints only", "nothing known"],
)
def test_the_best_known_source_of_the_boundary_is_used(
    kind: dict[str, Any], original: str, source: str
) -> None:
    drawn = draw_face(0)
    fake = put_fake(drawn, **(kind | {"original_video_id": original}))
    rows = fakes(crop([put_real(drawn), fake]))
    assert {row.boundary_source for row in rows} == {source}
    assert {row.paired for row in rows} == {1 if original else -1}
    assert rows[-1].boundary_label == (-1 if source == "none" else 1)
    assert {bool(row.mask_path) for row in rows} == {source == "paired"}


@pytest.mark.parametrize("kind", [FAKE, UNIFACE], ids=["square", "any outline"])
def test_a_pair_gives_the_mask_that_the_data_lack(kind: dict[str, Any]) -> None:
    drawn = draw_face(0)
    _, alpha = swap_face(drawn, 50)
    fake = put_fake(drawn, **(kind | {"original_video_id": "p0"}))
    row = fakes(crop([put_real(drawn), fake]))[0]
    found = stored(row.mask_path)[:, :, 0] >= 128
    x, y = int(row.context_x), int(row.context_y)
    true = (alpha >= 0.5)[y : y + found.shape[0], x : x + found.shape[1]]
    assert (found & true).sum() / (found | true).sum() > 0.75


def test_a_retimed_copy_is_not_compared_with_another_moment_of_its_original() -> None:
    drawn = draw_face(0)
    fake = put_fake(drawn, **(FAKE | {"original_video_id": "p0"}))
    later = fake.model_copy(update={"timestamp_s": fake.timestamp_s + 0.5})
    rows = fakes(crop([put_real(drawn), later]))
    assert {row.boundary_source for row in rows} == {"geometric"}
    assert {row.paired for row in rows} == {-1}


@pytest.mark.parametrize("kind", [FAKE, UNIFACE], ids=["inswapper", "uniface"])
@pytest.mark.parametrize("change", ["mirrored", "shifted", "graded", "resized", "none"])
def test_a_fake_that_does_not_fit_its_original_is_not_compared_with_it(
    kind: dict[str, Any], change: str
) -> None:
    drawn = draw_face(0)
    fake = put_fake(drawn, **kind)
    rgb = stored(fake.frame_path)
    height, width = rgb.shape[:2]
    changed = {
        "none": rgb,
        "mirrored": rgb[:, ::-1],
        "shifted": np.roll(rgb, 4, axis=1),
        "graded": np.clip(1.2 * rgb.astype(float), 0, 255).astype(np.uint8),
        "resized": cv2.resize(rgb, (width - 20, height - 20), interpolation=cv2.INTER_AREA),
    }[change]
    write_rgb(Path(fake.frame_path), np.ascontiguousarray(changed))
    result = crop([put_real(drawn), fake])
    source = "geometric" if kind is FAKE else "none"
    assert {(row.paired, row.boundary_source) for row in fakes(result)} == {
        (1, "paired") if change == "none" else (0, source)
    }
    assert {row.paired for row in result.rows if not row.label} == {-1}
    assert result.disagreeing == ([] if change == "none" else [f"{fake.video_id}, frame 4"])


def two_people() -> tuple[DrawnFace, ImageU8, ImageU8]:
    """A small swapped face next to a larger genuine one: (the small face, fake, mask)."""
    left = draw_face(0, height=240, width=480, face_px=90, centre=(110, 120))
    right = draw_face(3, height=240, width=240, face_px=130)
    both = left.rgb.copy()
    both[:, 240:] = right.rgb
    drawn = DrawnFace(both, left.box_xyxy, left.keypoints)
    rgb, alpha = swap_face(drawn, 50)
    return drawn, rgb, alpha_u8(alpha)


@pytest.mark.parametrize("known_by", ["mask", "original"])
def test_a_bystander_in_a_fake_is_not_labelled_fake(known_by: str) -> None:
    drawn, rgb, mask = two_people()
    fake = put(rgb, **FAKE)
    frames = [put_real(drawn), with_mask(fake, mask) if known_by == "mask" else fake]
    result = crop(frames, max_faces=2)
    assert len({row.face_id for row in result.rows if row.label == 0}) == 2
    assert {row.face_id for row in fakes(result)} == {"inswapper/p0/000_000004_0"}
    assert abs(box_of(fakes(result)[0]) - drawn.box_xyxy).max() < 20


def test_a_fake_whose_mask_covers_no_face_is_skipped() -> None:
    fake = put_fake()
    result = crop([put_real(), with_mask(fake, np.zeros((240, 320), np.uint8))])
    assert [(row.reason, row.detail) for row in result.skipped] == [
        ("no_face", "faces: 1, none under the paste mask")
    ]


@pytest.mark.parametrize(("later_s", "source"), [(0.009, "paired"), (0.011, "geometric")])
def test_a_hundredth_of_a_second_apart_is_the_same_moment(later_s: float, source: str) -> None:
    drawn = draw_face(0)
    for sign in (1, -1):
        fake = put_fake(drawn, timestamp_s=0.16 + sign * later_s)
        rows = fakes(crop([put_real(drawn), fake]))
        assert {row.boundary_source for row in rows} == {source}
