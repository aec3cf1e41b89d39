"""Writing video with PyAV, with the same bytes for the same frames."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from pipeline.core.arrays import ImageU8
from pipeline.core.files import replacing
from pipeline.media.video import EXACT

# x264's vector code is not exact: one of 16 writes of the same frames gave other bytes (AVX-512).
X264_PARAMS = "cpu-independent=1"
# H.273 code points: BT.709 primaries, transfer and matrix are all 1.
BT709 = 1


def write_video(
    path: Path, frames_rgb: Iterable[ImageU8], fps: int | Fraction, *, crf: int = 20
) -> int:
    """Write (H, W, 3) uint8 frames as H.264 in yuv420p, BT.709, limited range; return their number.

    The suffix selects the container (.mp4, .mkv, .mov). With one thread and no metadata, the same
    frames give the same bytes. crf: x264's quality, 0 (best) to 51.
    Raises ValueError when there are no frames, when sizes differ, or for an odd side, which 4:2:0
    cannot represent.
    """

    def convert(rgb: ImageU8) -> av.VideoFrame:
        height, width = rgb.shape[:2]
        if width % 2 or height % 2:
            raise ValueError(f"{path.name}: {width}x{height}: both sides must be even for yuv420p")
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | EXACT,
            threads=1,
        )

    options = {"crf": str(crf), "x264-params": X264_PARAMS}
    return _write(path, frames_rgb, fps, "libx264", "yuv420p", options, convert)


def write_mask_video(path: Path, masks: Iterable[ImageU8], fps: int | Fraction) -> int:
    """Write (H, W) uint8 masks losslessly as grey FFV1 (.mkv); return their number.

    Raises ValueError when there are no frames or sizes differ.
    """

    def convert(mask: ImageU8) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(mask), format="gray")

    return _write(path, masks, fps, "ffv1", "gray", {}, convert)


def _write(
    path: Path,
    images: Iterable[ImageU8],
    fps: int | Fraction,
    codec: str,
    pixel_format: str,
    options: dict[str, str],
    convert: Callable[[ImageU8], av.VideoFrame],
) -> int:
    """Encode all frames to a file; return their number."""
    container_format = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}.get(path.suffix)
    if container_format is None:
        raise ValueError(f"{path.name}: expected a name that ends with .mp4, .mov or .mkv")
    # bitexact leaves out the writer's version and Matroska's random identifiers.
    with (
        replacing(path) as temporary,
        av.open(
            str(temporary.absolute()), "w", format=container_format, options={"fflags": "+bitexact"}
        ) as container,
    ):
        stream: Any = container.add_stream(codec, rate=fps, options=options)
        return _encode(path, stream, container, images, pixel_format, convert)


def _encode(
    path: Path,
    stream: Any,
    container: Any,
    images: Iterable[ImageU8],
    pixel_format: str,
    convert: Callable[[ImageU8], av.VideoFrame],
) -> int:
    size: tuple[int, ...] | None = None
    count = 0
    for image in images:
        frame = convert(image)
        if size is None:
            size = image.shape[:2]
            stream.height, stream.width = size
            _configure(stream.codec_context, pixel_format)
        if image.shape[:2] != size:
            raise ValueError(f"{path.name}: frame {count} is {image.shape[:2]}, expected {size}")
        frame.pts = count
        frame.time_base = 1 / Fraction(stream.codec_context.framerate)
        container.mux(stream.encode(frame))
        count += 1
    if count == 0:
        raise ValueError(f"{path.name}: there are no frames to write")
    container.mux(stream.encode())
    return count


def _configure(context: Any, pixel_format: str) -> None:
    context.pix_fmt = pixel_format
    context.thread_count = 1
    if pixel_format == "yuv420p":
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = BT709
