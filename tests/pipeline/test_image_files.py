"""pipeline.media.images: written files have every pixel, in colour and in grey."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.media.images import encode_webp, read_image, read_mask, write_png, write_webp
from tests.support.synthetic import draw_face

NOISE = np.random.default_rng(1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 7), (64, 64)])
@pytest.mark.parametrize("black", [False, True])
def test_webp_keeps_every_pixel(tmp_path: Path, size: tuple[int, int], black: bool) -> None:
    rgb = NOISE.integers(0, 1 if black else 256, (*size, 3), np.uint8)
    rgb[0, 0] = 0
    write_webp(tmp_path / "a/b.webp", rgb)
    assert np.array_equal(read_image(tmp_path / "a/b.webp"), rgb)
    write_webp(tmp_path / "a/c.webp", rgb[..., 0])
    assert np.array_equal(read_mask(tmp_path / "a/c.webp", size), rgb[..., 0])


def test_every_grey_level(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_webp(tmp_path / "a.webp", levels)
    assert np.array_equal(read_mask(tmp_path / "a.webp", (16, 16)), levels)


def test_webp_of_a_face_is_smaller_than_png() -> None:
    rgb = draw_face(1).rgb
    assert len(encode_webp(rgb)) < 0.7 * rgb.nbytes
    assert encode_webp(rgb) == encode_webp(rgb.copy())


def test_a_file_is_replaced_and_not_changed_in_place(tmp_path: Path) -> None:
    """Other links to the old file, such as DVC's cache, keep its content."""
    for write, name in ((write_png, "a.png"), (write_webp, "a.webp")):
        write(tmp_path / name, np.zeros((4, 4), np.uint8))
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").hardlink_to(tmp_path / name)
        write(tmp_path / name, np.ones((4, 4), np.uint8))
        assert not np.asarray(Image.open(tmp_path / "link").convert("L")).any()
