"""serve.detector.images: decoding of each kind of image, and errors for hostile files."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.runtime.errors import DecodeError, TooLargeError, UnknownFormatError
from serve.detector.images import DecodedImage, decode_image, is_image
from tests.support.unread_files import UNREAD

LIMIT = 10_000
SECRET = b"do-not-echo-this"


def gradient(height: int = 20, width: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 12, columns * 8, rows + columns], axis=2).astype(np.uint8)


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    stream.seek(0)
    return stream


def decoded(image: Image.Image, file_format: str = "PNG", **options: object) -> DecodedImage:
    return decode_image(encoded(image, file_format, **options), LIMIT)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_keep_the_pixels(file_format: str) -> None:
    rgb = np.repeat(gradient()[:, :, :1], 3, axis=2)
    image = decoded(Image.fromarray(rgb), file_format)
    np.testing.assert_array_equal(image.rgb, rgb)
    assert image.file_format == file_format
    assert image.warnings == ()


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_stay_close(file_format: str) -> None:
    rgb = gradient()
    image = decoded(Image.fromarray(rgb), file_format, quality=95)
    assert np.abs(image.rgb.astype(int) - rgb).mean() < 8


def test_a_path_is_read_like_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "misnamed.txt"
    path.write_bytes(encoded(Image.fromarray(gradient())).getvalue())
    np.testing.assert_array_equal(decode_image(path, LIMIT).rgb, gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    image = decoded(Image.fromarray(gradient()), file_format, exif=exif)
    turned = Image.open(encoded(Image.fromarray(gradient()), exif=exif))
    np.testing.assert_array_equal(image.rgb, np.asarray(ImageOps.exif_transpose(turned)))


def test_damaged_exif_counts_as_upright() -> None:
    stream = encoded(Image.fromarray(gradient()), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode_image(stream, LIMIT).orientation == 1


def test_alpha_is_composited_onto_white() -> None:
    rgba = np.dstack([gradient(), np.full((20, 30), 255, np.uint8)])
    rgba[:, :10, 3] = 0
    image = decoded(Image.fromarray(rgba))
    assert (image.rgb[:, :10] == 255).all()
    np.testing.assert_array_equal(image.rgb[:, 10:], gradient()[:, 10:])
    assert any("transparent" in warning for warning in image.warnings)


def test_transparent_palette_is_composited_onto_white() -> None:
    image = Image.fromarray(np.repeat([[0, 1]], 4, axis=0).astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    rgb = decoded(image, transparency=0).rgb
    assert rgb[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_grey_becomes_three_equal_channels() -> None:
    grey = gradient()[:, :, 0]
    np.testing.assert_array_equal(decoded(Image.fromarray(grey)).rgb, np.dstack([grey] * 3))


def test_one_bit_becomes_black_and_white() -> None:
    image = Image.fromarray(gradient()[:, :, 0] > 100)
    assert set(np.unique(decoded(image).rgb)) == {0, 255}


def test_sixteen_bits_keep_the_upper_eight() -> None:
    grey = gradient()[:, :, 0].astype(np.uint16)
    image = decoded(Image.fromarray(grey * 256 + 77))
    np.testing.assert_array_equal(image.rgb[:, :, 0], grey)


def test_sixteen_bit_colour_png_keeps_the_upper_eight() -> None:
    samples = (gradient().astype(np.uint16) * 256 + 5).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    image = decode_image(io.BytesIO(drawn_png(30, 20, depth=16, pixels=rows)), LIMIT)
    np.testing.assert_array_equal(image.rgb, gradient())


def test_float_samples_are_refused() -> None:
    with pytest.raises(DecodeError, match="32-bit samples"):
        decoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")


def test_cmyk_is_converted_with_a_warning() -> None:
    image = decoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG", quality=100)
    assert (image.rgb > 250).all()
    assert any("CMYK" in warning for warning in image.warnings)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_image_of_an_animation(file_format: str) -> None:
    first, second = (Image.new("RGB", (9, 9), (level,) * 3) for level in (40, 200))
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = decoded(first, file_format, save_all=True, append_images=[second], **options)
    assert (image.rgb == 40).all()
    assert any("first image" in warning for warning in image.warnings)


def test_main_image_of_a_phone_jpeg_has_no_warning() -> None:
    main, gain = Image.new("RGB", (16, 16), (60, 60, 60)), Image.new("RGB", (16, 16))
    image = decoded(main, "MPO", save_all=True, append_images=[gain])
    assert abs(int(image.rgb.mean()) - 60) <= 1
    assert image.warnings == ()


def test_pixel_bound_is_checked_before_decoding() -> None:
    bomb = drawn_png(9_990, 9_990, pixels=b"\0" * 64)
    with pytest.raises(TooLargeError, match=r"9990x9990 px .* 10000 px"):
        decode_image(io.BytesIO(bomb), LIMIT)


def test_what_no_setting_allows_is_refused_with_the_header() -> None:
    bomb = drawn_png(20_000, 20_000, pixels=b"\0" * 64)
    match = "more than 200000000 px, the largest allowed INSWAPPER_MAX_IMAGE_PIXELS"
    with pytest.raises(TooLargeError, match=match):
        decode_image(io.BytesIO(bomb), LIMIT)


def test_pixel_bound_is_inclusive() -> None:
    assert decoded(Image.new("RGB", (100, 100))).rgb.shape == (100, 100, 3)
    with pytest.raises(TooLargeError):
        decoded(Image.new("RGB", (100, 101)))


@pytest.mark.parametrize("size", [(1, 201), (201, 1)])
def test_a_side_that_is_too_long_is_refused(size: tuple[int, int]) -> None:
    """Face detection pads the image to a square of the longer side."""
    content = encoded(Image.new("RGB", size), "PNG")
    with pytest.raises(TooLargeError, match="a side above 200 px"):
        decode_image(content, 20_000)
    longest = encoded(Image.new("RGB", (1, 200)), "PNG")
    assert decode_image(longest, 20_000).rgb.shape == (200, 1, 3)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_truncated_files_are_refused(file_format: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (60, 60, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), file_format).getvalue()
    with pytest.raises(DecodeError):
        decode_image(io.BytesIO(whole[: len(whole) // 2]), LIMIT)


@pytest.mark.parametrize("content", [b"", SECRET, SECRET * 500, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_other_content_is_an_unknown_format(content: bytes) -> None:
    with pytest.raises(UnknownFormatError) as caught:
        decode_image(io.BytesIO(content), LIMIT)
    assert SECRET.decode() not in str(caught.value)
    assert not is_image(io.BytesIO(content))


@pytest.mark.parametrize("name", UNREAD)
def test_known_formats_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(UNREAD[name])
    for source in (tmp_path / "photo", io.BytesIO(UNREAD[name])):
        with pytest.raises(UnknownFormatError, match=f"^{name.split(',')[0]}.* are not read; "):
            decode_image(source, LIMIT)
        assert not is_image(source)


def test_no_message_repeats_the_content() -> None:
    broken = drawn_png(9, 9, pixels=SECRET, compressed=False)
    with pytest.raises(DecodeError) as caught:
        decode_image(io.BytesIO(broken), LIMIT)
    assert str(caught.value) == "damaged or truncated PNG image"


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="no such file"):
        decode_image(tmp_path / "absent.jpg", LIMIT)


def test_is_image_looks_at_content() -> None:
    assert is_image(encoded(Image.new("RGB", (4, 4)), "JPEG"))
    assert not is_image(io.BytesIO(b"\x00\x00\x00\x18ftypmp42" + bytes(64)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=60, deadline=None)
@given(
    file_format=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]),
    spot=st.floats(0, 1, exclude_max=True),
    patch=st.binary(min_size=1, max_size=12),
)
def test_altered_files_decode_or_raise_decode_error(
    file_format: str, spot: float, patch: bytes
) -> None:
    content = bytearray(encoded(Image.fromarray(gradient()), file_format).getvalue())
    start = int(spot * len(content))
    content[start : start + len(patch)] = patch
    try:
        image = decode_image(io.BytesIO(bytes(content)), LIMIT)
    except DecodeError:
        return
    assert image.rgb.dtype == np.uint8
    assert image.rgb.ndim == 3
    assert image.rgb.shape[0] * image.rgb.shape[1] <= LIMIT


def drawn_png(
    width: int, height: int, depth: int = 8, pixels: bytes = b"", compressed: bool = True
) -> bytes:
    """A PNG written chunk by chunk, so that its header may be false."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = zlib.compress(pixels) if compressed else pixels
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
