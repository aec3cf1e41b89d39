"""pipeline.media.frame_files: a frame's file has its pixels, however the video stores them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from pipeline.media.frame_files import read_frame, write_frame
from pipeline.media.video import DecodedFrame, decode_frames, probe
from pipeline.runtime.errors import DecodeError
from tests.support.anamorphic import write_anamorphic
from tests.support.synthetic import draw_face, draw_scenery

RGB = draw_face(1).rgb
HEIGHT, WIDTH = RGB.shape[:2]


def decoded(path: Path) -> DecodedFrame:
    return next(decode_frames(path))


def clip(path: Path, pixel_format: str = "yuv420p", **colours: int) -> DecodedFrame:
    """First frame of an H.264 clip."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        for name, value in colours.items():
            setattr(stream.codec_context, name, value)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(RGB, format="rgb24")))
        container.mux(stream.encode())
    return decoded(path)


def stored_format(path: Path) -> str:
    return decoded(path).decoded.format.name


def written(path: Path, frame: DecodedFrame) -> np.ndarray:
    """Pixels read back, after a comparison with those of the frame."""
    expected = frame.pixels(VideoReformatter(), "rgb24")
    assert np.array_equal(write_frame(path, frame), expected)
    read = read_frame(path)
    assert np.array_equal(read, expected)
    return read


@pytest.mark.parametrize("colorspace", [1, 2, 5, 6])
@pytest.mark.parametrize("color_range", [0, 1, 2])
def test_colours_of_every_standard(tmp_path: Path, colorspace: int, color_range: int) -> None:
    frame = clip(tmp_path / "a.mp4", colorspace=colorspace, color_range=color_range)
    written(tmp_path / "a.mkv", frame)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
def test_a_frame_is_stored_as_it_was_decoded(tmp_path: Path, pixel_format: str) -> None:
    frame = clip(tmp_path / "a.mp4", pixel_format)
    written(tmp_path / "a.mkv", frame)
    assert stored_format(tmp_path / "a.mkv") == pixel_format
    stored = decoded(tmp_path / "a.mkv").decoded
    assert np.array_equal(stored.to_ndarray(), frame.decoded.to_ndarray())


def test_other_formats_are_stored_as_rgb(tmp_path: Path) -> None:
    written(tmp_path / "a.mkv", clip(tmp_path / "a.mp4", "yuv420p10le"))
    assert stored_format(tmp_path / "a.mkv") == "bgr0"


@pytest.mark.parametrize("size", [(7, 9), (2, 2), (33, 2)])
def test_pixels_of_any_size_and_colour(tmp_path: Path, size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    rgb[0, 0] = 0
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    assert np.array_equal(
        written(tmp_path / "a.mkv", DecodedFrame(0, 0.0, frame, Fraction(1), b"")), rgb
    )


@pytest.mark.parametrize(("aspect", "turned_deg"), [(Fraction(2), 0), (None, 90), (None, 180)])
def test_stretched_and_turned_frames(
    tmp_path: Path, aspect: Fraction | None, turned_deg: int
) -> None:
    source = tmp_path / "a.mp4"
    write_anamorphic(source, [draw_scenery(1, 96, 128)] * 3, aspect, turned_deg=turned_deg)
    read = written(tmp_path / "b.mkv", decoded(source))
    assert read.shape[:2] == (probe(source).height_px, probe(source).width_px)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    frame = clip(tmp_path / "a.mp4")
    for name in ("b.mkv", "c.mkv"):
        write_frame(tmp_path / name, frame)
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "c.mkv").read_bytes()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_frame(path, clip(tmp_path / "a.mp4"))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DecodeError, match=r"a\.mkv"):
        read_frame(path)
    with pytest.raises(DecodeError, match=r"absent\.mkv"):
        read_frame(tmp_path / "absent.mkv")
