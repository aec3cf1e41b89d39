"""pipeline.media.unread_formats: known formats that are not read are named, with the way out."""

import io
from pathlib import Path

import pytest
from PIL import Image

from pipeline.media.images import read_image, read_mask
from pipeline.media.unread_formats import unread_format
from pipeline.runtime.errors import DecodeError
from tests.support.synthetic import draw_face, encoded_png
from tests.support.unread_files import HEIC, OTHERS, UNREAD


@pytest.mark.parametrize("name", UNREAD)
def test_a_known_format_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(UNREAD[name])
    for source in (path, io.BytesIO(UNREAD[name])):
        advice = unread_format(source)
        assert advice.startswith(name.split(",")[0])
        assert " not read; convert this one to PNG or JPEG, for example with `" in advice


def test_the_whole_line() -> None:
    assert unread_format(io.BytesIO(HEIC)) == (
        "HEIC images are not read; convert this one to PNG or JPEG, for example with"
        " `heif-convert` or, on macOS, `sips`"
    )


@pytest.mark.parametrize("name", OTHERS)
def test_other_content_is_not_named(name: str) -> None:
    assert unread_format(io.BytesIO(OTHERS[name])) == ""


def test_formats_that_are_read_are_not_named(tmp_path: Path) -> None:
    rgb = draw_face(1, height=48, width=64, face_px=40).rgb
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tif"):
        Image.fromarray(rgb).save(tmp_path / f"image.{suffix}")
        assert unread_format(tmp_path / f"image.{suffix}") == ""
    assert unread_format(tmp_path / "missing.png") == ""
    assert unread_format(tmp_path) == ""


def test_a_stream_is_examined_from_its_start() -> None:
    stream = io.BytesIO(HEIC)
    stream.read(20)
    assert unread_format(stream).startswith("HEIC")
    assert unread_format(io.BytesIO(encoded_png(draw_face(1).rgb))) == ""


@pytest.mark.parametrize("name", UNREAD)
def test_read_image_and_read_mask_say_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(UNREAD[name])
    expected = rf"photo\.png: {name.split(',')[0]}.* not read; convert this one"
    with pytest.raises(DecodeError, match=expected):
        read_image(path)
    with pytest.raises(DecodeError, match=expected):
        read_mask(path, (4, 4))


def test_avif_is_read(tmp_path: Path) -> None:
    """Only an AVIF file that cannot be decoded is named as not read."""
    rgb = draw_face(1, height=48, width=64, face_px=40).rgb
    Image.fromarray(rgb).save(tmp_path / "a.avif", speed=10)
    assert read_image(tmp_path / "a.avif").shape == rgb.shape
