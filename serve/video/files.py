"""What an uploaded video is and whether it is within the limits, before any of it is judged."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.media.video import VideoInfo, probe
from pipeline.runtime.errors import TooLargeError
from serve.sizes import check_size

HEAD_BYTES = 512
TS_PACKET = 188


@dataclass(frozen=True)
class VideoLimits:
    """max_video_s: longest video that is read. max_pixels: of a frame, width times height."""

    max_video_s: float
    max_pixels: int

    def check_length(self, length_s: float) -> None:
        """Raises TooLargeError."""
        if length_s > self.max_video_s:
            raise TooLargeError(
                f"video of {length_s:.6g} s is above the limit of {self.max_video_s:.6g} s"
                " (INSWAPPER_MAX_VIDEO_S)"
            )

    def check_size(self, width_px: int, height_px: int) -> None:
        """Raises TooLargeError."""
        check_size("video", width_px, height_px, self.max_pixels)


def is_video(path: Path) -> bool:
    """Whether the content starts like one of the containers that are read.

    Playlists, concat scripts and SDP texts have no such start, whatever their names are.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    starts = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba")
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
    # Cameras put four bytes of time before each packet (.m2ts).
    transport_stream = any(
        head[at : at + 1] == head[at + size : at + size + 1] == b"\x47"
        for at, size in ((0, TS_PACKET), (4, TS_PACKET + 4))
    )
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return head.startswith(starts) or head[4:8] in boxes or transport_stream or avi


def probed(path: Path, limits: VideoLimits) -> VideoInfo:
    """The facts of a video within the limits. Raises DecodeError or TooLargeError."""
    info = probe(path)
    limits.check_length(info.duration_s)
    limits.check_size(info.width_px, info.height_px)
    return info
