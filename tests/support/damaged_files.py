"""Small real images and videos, and reproducible damage to them."""

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.media.video_writer import write_mask_video, write_video
from tests.support.synthetic import draw_clip, draw_face

# Sizes, counts and offsets that parsers handle wrongly: zero, one, and limits of integer types.
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Half of the changes hit the header, which affects decoding more than pixels do.
HEADER_BYTES = 512
MOST_CHANGES = 6

Damage = Callable[[bytearray, np.random.Generator], bytearray]


def image_seeds() -> dict[str, bytes]:
    """Files of 64x48 px by name, in every supported format and its usual variants."""
    rgb = Image.fromarray(draw_face(1, height=48, width=64, face_px=40).rgb)
    exif = Image.Exif()
    exif[274] = 6
    pages = [rgb.rotate(90 * turn) for turn in range(1, 3)]
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    alpha = rgb.copy()
    alpha.putalpha(128)
    sixteen = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    return {
        "jpeg": _encoded(rgb, "JPEG", exif=exif),
        "jpeg-progressive": _encoded(rgb, "JPEG", progressive=True),
        "jpeg-cmyk": _encoded(rgb.convert("CMYK"), "JPEG"),
        "png": _encoded(rgb, "PNG", exif=exif),
        "png-alpha": _encoded(alpha, "PNG"),
        "png-palette": _encoded(palette, "PNG", transparency=1),
        "png-16-bit": _encoded(sixteen, "PNG"),
        "png-animated": _encoded(rgb, "PNG", save_all=True, append_images=pages),
        "webp": _encoded(rgb, "WEBP", exif=exif),
        "webp-lossless": _encoded(alpha, "WEBP", lossless=True),
        "webp-animated": _encoded(rgb, "WEBP", save_all=True, append_images=pages),
        "avif": _encoded(rgb, "AVIF", speed=10, exif=exif),
        "gif": _encoded(palette, "GIF", save_all=True, append_images=pages, transparency=1),
        "bmp": _encoded(rgb, "BMP"),
        "bmp-palette": _encoded(palette, "BMP"),
        "tiff": _encoded(rgb, "TIFF"),
        "tiff-lzw": _encoded(rgb, "TIFF", compression="tiff_lzw", exif=exif),
        "tiff-jpeg": _encoded(rgb, "TIFF", compression="jpeg"),
        "tiff-pages": _encoded(rgb, "TIFF", save_all=True, append_images=pages),
        "tiff-16-bit": _encoded(sixteen, "TIFF", compression="tiff_deflate"),
    }


def video_seeds() -> dict[str, bytes]:
    """Videos by name, 12 frames of 96x80 px: H.264 in three containers, FFV1 in Matroska."""
    faces = draw_clip(1, scenes=2, frames_per_scene=6, height=80, width=96, face_px=40)
    frames = [face.rgb for face in faces]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("mp4", "mov", "mkv"):
            write_video(Path(folder) / f"h264.{suffix}", frames, 25)
        write_mask_video(Path(folder) / "ffv1.mkv", [rgb[:, :, 0] for rgb in frames], 25)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def mutated(seeds: Sequence[bytes], number: int) -> bytes:
    """Seed number `number` (cyclic) with 1 to MOST_CHANGES changes; deterministic."""
    rng = np.random.default_rng(number)
    content = bytearray(seeds[number % len(seeds)])
    for _ in range(int(rng.integers(1, MOST_CHANGES + 1))):
        content = DAMAGES[int(rng.integers(len(DAMAGES)))](content, rng)
    if rng.random() < 0.05:
        content += seeds[int(rng.integers(len(seeds)))]
    return bytes(content)


def _encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _position(content: bytearray, rng: np.random.Generator) -> int:
    end = HEADER_BYTES if rng.random() < 0.5 else len(content)
    return int(rng.integers(max(1, min(end, len(content)))))


def _flip_bit(content: bytearray, rng: np.random.Generator) -> bytearray:
    if content:
        content[_position(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _random_bytes(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _position(content, rng), int(rng.integers(1, 17))
    content[start : start + length] = rng.bytes(length)
    return content


def _edge_number(content: bytearray, rng: np.random.Generator) -> bytearray:
    size = int(rng.choice((1, 2, 4)))
    value = EDGES[int(rng.integers(len(EDGES)))] % 256**size
    start = _position(content, rng)
    content[start : start + size] = value.to_bytes(size, "big" if rng.random() < 0.5 else "little")
    return content


def _delete(content: bytearray, rng: np.random.Generator) -> bytearray:
    start = _position(content, rng)
    del content[start : start + int(rng.integers(1, 65))]
    return content


def _repeat(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, target = _position(content, rng), _position(content, rng)
    content[target:target] = content[start : start + int(rng.integers(1, 257))]
    return content


def _truncate(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: _position(content, rng)]


DAMAGES: tuple[Damage, ...] = (
    _flip_bit,
    _flip_bit,
    _random_bytes,
    _edge_number,
    _edge_number,
    _delete,
    _repeat,
    _truncate,
)
