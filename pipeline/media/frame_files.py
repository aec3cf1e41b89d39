"""Files of one video frame each: lossless FFV1 (RFC 9043) in Matroska, stored as it was decoded.

A decoded frame has two colour values for four pixels. Stored like this, a frame of a 720p clip
takes 130 to 220 kB and 25 ms; its RGB pixels take 560 to 900 kB as PNG and 320 to 540 kB as WebP.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from pipeline.core.arrays import ImageU8
from pipeline.core.files import replacing
from pipeline.media.video import DecodedFrame, read_frames

SUFFIX: Final = ".mkv"
# 8 bits, 4:2:0 in nearly all videos. Other formats are stored as RGB.
AS_DECODED: Final = ("yuv420p", "yuv422p", "yuv444p")
RGB: Final = "bgr0"
# A fixed number of slices gives the same bytes everywhere. H.264 and HEVC place the colour values
# at the left; PyAV cannot read where a frame has them.
OPTIONS: Final = {
    "level": "3",
    "coder": "range_def",
    "context": "0",
    "slices": "4",
    "chroma_sample_location": "left",
}


def write_frame(path: Path, frame: DecodedFrame) -> ImageU8:
    """Write a frame to `path`, which ends with .mkv, replacing an earlier file.

    Returns its pixels, (H, W, 3) uint8 RGB, which `read_frame` reads again from the file: a frame
    that would not give them, such as a rotated one, is stored as RGB.
    """
    rgb = frame.pixels(VideoReformatter(), "rgb24")
    if frame.decoded.format.name in AS_DECODED:
        _write(path, frame.decoded)
        if np.array_equal(read_frame(path), rgb):
            return rgb
    _write(path, av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=RGB))
    return rgb


def read_frame(path: Path) -> ImageU8:
    """Pixels of a file that `write_frame` wrote: (H, W, 3) uint8 RGB. Raises DecodeError."""
    _, _, rgb = next(read_frames(path, [0]))
    return rgb


def _write(path: Path, frame: av.VideoFrame) -> None:
    frame.pts, frame.time_base = 0, Fraction(1)
    # bitexact leaves out the writer's version and Matroska's random identifiers.
    with (
        replacing(path) as temporary,
        av.open(
            str(temporary.absolute()), "w", format="matroska", options={"fflags": "+bitexact"}
        ) as container,
    ):
        stream: Any = container.add_stream("ffv1", rate=1, options=OPTIONS)
        stream.width, stream.height = frame.width, frame.height
        context = stream.codec_context
        context.pix_fmt, context.thread_count = frame.format.name, 1
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
