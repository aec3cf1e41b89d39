"""Container check and limits of uploaded videos, applied before any frame is scored."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.media.unread_formats import unread_format
from pipeline.media.video import VideoInfo, probe
from pipeline.runtime.errors import TooLargeError
from serve.sizes import check_size

HEAD_BYTES = 512
TS_PACKET = 188


@dataclass(frozen=True)
class VideoLimits:
    """Limits. max_video_s: length in seconds. max_pixels: width times height of a frame."""

    max_video_s: float
    max_pixels: int

    def check_length(self, length_s: float) -> None:
        """Raise TooLargeError if the video is too long."""
        if length_s > self.max_video_s:
            raise TooLargeError(
                f"video of {length_s:.6g} s is above the limit of {self.max_video_s:.6g} s"
                " (INSWAPPER_MAX_VIDEO_S)"
            )

    def check_size(self, width_px: int, height_px: int) -> None:
        """Raise TooLargeError if a frame is too large."""
        check_size("video", width_px, height_px, self.max_pixels)


def is_video(path: Path) -> bool:
    """Whether the content starts like one of the supported containers.

    Playlists, concat scripts and SDP texts do not, regardless of their names. Neither do HEIC and
    AVIF images, although they share the box structure of MP4.
    """
    if unread_format(path):
        return False
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    starts = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba")
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
    # Cameras write four bytes of timestamp before each packet (.m2ts).
    transport_stream = any(
        head[at : at + 1] == head[at + size : at + size + 1] == b"\x47"
        for at, size in ((0, TS_PACKET), (4, TS_PACKET + 4))
    )
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return head.startswith(starts) or head[4:8] in boxes or transport_stream or avi


def probed(path: Path, limits: VideoLimits) -> VideoInfo:
    """Header facts of a video within the limits. Raises DecodeError or TooLargeError."""
    info = probe(path)
    limits.check_length(info.duration_s)
    limits.check_size(info.width_px, info.height_px)
    return info
