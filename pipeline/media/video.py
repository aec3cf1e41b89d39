"""Reading video with PyAV: one file, one video stream, frames in presentation order.

Only local files in the container formats below are opened, so a playlist, a concat script or an SDP
description named .mp4 cannot make the reader follow an address or open a second file.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from pipeline.core.arrays import ImageU8
from pipeline.runtime.errors import DecodeError, TooLargeError

PixelFormat = Literal["rgb24", "bgr24", "gray"]

READ_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg",
}
MAX_SIDE_PX = 8192
# Pixels are at most this many times wider than high, or higher than wide; anamorphic formats stay
# below 2.
MAX_STRETCH = 4
# Pixels this close to square are shown as they are. Encoders declare such ratios (1280:1281) to
# correct a rounded size; resampling for them would blur every frame and change no face visibly.
SQUARE_WITHIN = 0.03
# A file that ends before this fraction of its declared length counts as truncated.
COMPLETE_FRAC = 0.9
# Decoding threads wait for the previous frame and for the caller; with one thread per core, 12 % of
# the time is lost (720p and 1080p on 2 cores).
THREADS_PER_CORE = 2
# swscale's fast paths differ between processors; these flags give the same pixels everywhere.
# Without full chroma interpolation, accurate rounding darkens every RGB pixel by 2 (measured).
EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video; sizes in pixels as displayed, after stretching and rotation.

    pixel_aspect: width of a stored pixel divided by its height, 1 if unknown. fps: average frames
    per second, 0 if unknown. duration_s, frame_count: as declared by the file, 0 if not declared.
    """

    width_px: int
    height_px: int
    pixel_aspect: Fraction
    fps: float
    duration_s: float
    frame_count: int
    codec: str


@dataclass(frozen=True)
class DecodedFrame:
    """A decoded frame, not yet converted to RGB or grey pixels.

    index, timestamp_s: start at 0. pixel_aspect: width of a stored pixel divided by its height.
    matrix: display matrix of the video, empty if there is none.
    """

    index: int
    timestamp_s: float
    decoded: av.VideoFrame
    pixel_aspect: Fraction
    matrix: bytes

    def pixels(
        self,
        converter: VideoReformatter,
        pixel_format: PixelFormat,
        max_side_px: int | None = None,
    ) -> ImageU8:
        """Upright square pixels, (H, W, 3) uint8, or (H, W) for "gray".

        max_side_px: limit on the longer side; larger frames are shrunk by area averaging.
        converter: reuse one for all frames of a size, because setting one up takes time.
        """
        height = self.decoded.height
        width = _displayed_width(self.decoded.width, self.pixel_aspect)
        shrink = min(1.0, (max_side_px or MAX_SIDE_PX) / max(width, height))
        smaller = shrink < 1 or width < self.decoded.width
        converted = converter.reformat(
            self.decoded,
            width=max(1, round(shrink * width)),
            height=max(1, round(shrink * height)),
            format=pixel_format,
            interpolation=(Interpolation.AREA if smaller else Interpolation.BILINEAR) | EXACT,
            threads=1,
        )
        pixels: Any = converted.to_ndarray()
        return _upright(pixels, self.matrix)


def probe(path: Path) -> VideoInfo:
    """Properties of a video, found by opening it and decoding its first frame.

    Raises DecodeError, naming the file, when it is not a readable video.
    """
    with _opened(path, threads=1) as (container, stream):
        first = next(_decoded(path, container, stream))
        height, width = first.pixels(VideoReformatter(), "gray").shape
        return VideoInfo(
            width_px=width,
            height_px=height,
            pixel_aspect=first.pixel_aspect,
            fps=float(stream.average_rate or 0),
            duration_s=_declared_s(container, stream),
            frame_count=stream.frames,
            codec=stream.codec_context.name,
        )


def read_frames(
    path: Path,
    indices: Iterable[int] | None = None,
    *,
    pixel_format: PixelFormat = "rgb24",
    max_side_px: int | None = None,
    pixel_aspect: Fraction | None = None,
    threads: int = 1,
) -> Iterator[tuple[int, float, ImageU8]]:
    """Decode in order; yield (frame index, timestamp in seconds, pixels) of the requested frames.

    indices: only these frames are converted, and reading stops after the last one; None means all.
    Indices past the end of the video are left out. Timestamps come from the file and start at 0.
    pixels: (H, W, 3) uint8, or (H, W) for "gray", as players show them: stretched in width where
    the stored pixels are not square, and rotated by the file's display matrix. max_side_px: limit
    on the longer side; larger frames are shrunk by area averaging. pixel_aspect: used instead of
    the file's own. threads: number of cores for the decoder; affects speed only.
    Raises DecodeError, naming the file, when it cannot be opened or decoded, or ends too early.
    """
    wanted = None if indices is None else frozenset(indices)
    if wanted is not None and not wanted:
        return
    last = None if wanted is None else max(wanted)
    converter = VideoReformatter()
    with closing(decode_frames(path, threads, pixel_aspect)) as frames:
        for frame in frames:
            if wanted is None or frame.index in wanted:
                pixels = frame.pixels(converter, pixel_format, max_side_px)
                yield frame.index, frame.timestamp_s, pixels
            if frame.index == last:
                return


def decode_frames(
    path: Path, threads: int = 1, pixel_aspect: Fraction | None = None
) -> Generator[DecodedFrame]:
    """Yield all frames of a video in presentation order, unconverted.

    pixel_aspect: used instead of the file's own. Raises DecodeError, naming the file, when it
    cannot be opened or decoded, or ends too early.
    """
    with _opened(path, threads) as (container, stream):
        yield from _decoded(path, container, stream, pixel_aspect)


@contextmanager
def _opened(path: Path, threads: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the container and its first video stream; every libav error becomes a DecodeError."""
    try:
        # An absolute path cannot be interpreted as an address such as "concat:a|b".
        with av.open(
            str(path.absolute()), options=dict(READ_OPTIONS), metadata_errors="replace"
        ) as container:
            stream = _first_stream(path, container)
            stream.codec_context.thread_count = THREADS_PER_CORE * threads if threads > 1 else 1
            stream.codec_context.thread_type = "AUTO" if threads > 1 else "NONE"
            yield container, stream
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: cannot be decoded as a video ({error.strerror})") from error


def _first_stream(path: Path, container: InputContainer) -> VideoStream:
    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        raise DecodeError(f"{path}: contains no video stream")
    context = streams[0].codec_context
    if context is None:  # possible, although PyAV's type hints exclude it
        raise DecodeError(f"{path}: unknown codec")
    width = _displayed_width(context.width, _pixel_aspect(path, streams[0]))
    if max(context.width, width, context.height) > MAX_SIDE_PX:
        shown = "" if width == context.width else f", displayed at {width}x{context.height} px"
        raise TooLargeError(
            f"{path}: {context.width}x{context.height} px{shown};"
            f" the limit is {MAX_SIDE_PX} px per side"
        )
    return streams[0]


def _pixel_aspect(path: Path, stream: VideoStream) -> Fraction:
    """Sample aspect ratio of the whole video: the container's, else the codec's, else 1.

    PyAV does not expose the ratio of single frames; a change within a video has no effect.
    Raises DecodeError when the ratio is not between 1:MAX_STRETCH and MAX_STRETCH:1.
    """
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, MAX_STRETCH) <= aspect <= MAX_STRETCH:
        raise DecodeError(
            f"{path}: sample aspect ratio {aspect.numerator}:{aspect.denominator};"
            f" expected 1:{MAX_STRETCH} to {MAX_STRETCH}:1"
        )
    return aspect


def _displayed_width(stored_px: int, aspect: Fraction) -> int:
    """Width in square pixels, even as in players; unchanged for pixels that are nearly square."""
    if abs(aspect - 1) <= SQUARE_WITHIN:
        return stored_px
    return max(2, 2 * round(stored_px * aspect / 2))


def _decoded(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    pixel_aspect: Fraction | None = None,
) -> Iterator[DecodedFrame]:
    """All frames in presentation order, numbered from 0."""
    index = 0
    first_s = end_s = 0.0
    matrix = b""
    aspect = pixel_aspect or _pixel_aspect(path, stream)
    period_s = 1 / float(stream.average_rate or 25)
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise DecodeError(f"{path}: damaged or truncated after frame {index}")
        for frame in stream.decode(packet):
            if frame.is_corrupt:
                raise DecodeError(f"{path}: frame {index} is damaged")
            time_s = frame.time if frame.time is not None else end_s + period_s
            if index == 0:
                first_s, matrix = time_s, _display_matrix(frame)
            yield DecodedFrame(index, max(0.0, time_s - first_s), frame, aspect, matrix)
            index += 1
            end_s = time_s
    if index == 0:
        raise DecodeError(f"{path}: contains no frame that can be decoded")
    _check_complete(path, container, stream, first_s, end_s + period_s)


def _check_complete(
    path: Path, container: InputContainer, stream: VideoStream, first_s: float, end_s: float
) -> None:
    """Raise DecodeError for a video that ends well before the end declared in its header."""
    declared_s = _declared_s(container, stream)
    start_s = float((stream.start_time or 0) * (stream.time_base or 0))
    # Matroska's tag declares the end of the stream, MP4's header its length.
    declared_end_s = declared_s + (0 if "DURATION" in stream.metadata else start_s)
    if end_s < declared_end_s - (1 - COMPLETE_FRAC) * declared_s:
        raise DecodeError(
            f"{path}: truncated: ends after {end_s - first_s:.3g} s of the declared"
            f" {declared_s:.3g} s"
        )


def _declared_s(container: InputContainer, stream: VideoStream) -> float:
    """Length of the video stream declared in an MP4 or Matroska header, 0 if there is none.

    For other formats libav estimates the length from the bit rate, which is unreliable.
    """
    if not container.format.name.startswith(("mov", "matroska")):
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


def _display_matrix(frame: av.VideoFrame) -> bytes:
    """Display matrix of a video, empty if it has none.

    Read from the first frame only: `side_data` puts a frame into a reference cycle, and reading it
    from every frame of a 1080p clip of 338 frames took 500 MB.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return b"" if matrix is None else bytes(matrix)


def _upright(pixels: ImageU8, matrix: bytes) -> ImageU8:
    """Apply the display matrix: x' = a*x + c*y, y' = b*x + d*y, with a, b, c, d in {-1, 0, 1}."""
    if not matrix:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32)[:5].tolist()
    if abs(a) + abs(d) < abs(b) + abs(c):
        pixels = pixels.swapaxes(0, 1)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
