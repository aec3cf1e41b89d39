"""serve.sizes: pixels, and sides out of all proportion, of images and of every frame of a video."""

from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.media.video_writer import write_video
from pipeline.runtime.errors import TooLargeError
from serve.sizes import check_size
from serve.video.files import VideoLimits, probed
from serve.video.sampling import sampled_frames
from tests.support.anamorphic import write_anamorphic
from tests.support.synthetic import draw_scenery


@pytest.mark.parametrize("size", [(100, 50), (50, 100), (1, 100), (100, 1), (70, 71)])
def test_what_is_within_the_limit_passes(size: tuple[int, int]) -> None:
    check_size("image", *size, 5000)


@pytest.mark.parametrize("size", [(100, 51), (51, 100), (101, 1), (1, 101)])
def test_too_many_pixels_or_too_long_a_side(size: tuple[int, int]) -> None:
    width, height = size
    with pytest.raises(TooLargeError, match=f"^image of {width}x{height} px .*MAX_IMAGE_PIXELS"):
        check_size("image", width, height, 5000)


@pytest.mark.parametrize("shape_hw", [(416, 32), (32, 416)])
def test_a_narrow_video_is_refused_whichever_way_it_lies(
    tmp_path: Path, shape_hw: tuple[int, int]
) -> None:
    height, width = shape_hw
    write_video(tmp_path / "strip.mp4", [draw_scenery(1, height, width)] * 2, 25)
    limits = VideoLimits(60, height * width)
    expected = f"video of {width}x{height} px has a side above"
    with pytest.raises(TooLargeError, match=expected):
        probed(tmp_path / "strip.mp4", limits)
    with pytest.raises(TooLargeError, match=expected):
        list(sampled_frames(tmp_path / "strip.mp4", ((1, 0),), limits))
    wider = VideoLimits(60, 416**2 // 2)
    assert len(list(sampled_frames(tmp_path / "strip.mp4", ((1, 0),), wider))) == 1


def test_the_limit_holds_for_the_displayed_size(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_anamorphic(path, [draw_scenery(1, 96, 64)] * 2, Fraction(2))
    enough = VideoLimits(60, 96 * 128)
    assert probed(path, enough).width_px == 128
    assert [rgb.shape for _, _, rgb in sampled_frames(path, ((1, 0),), enough)] == [(96, 128, 3)]
    expected = "video of 128x96 px is above the limit of 12287 px"
    with pytest.raises(TooLargeError, match=expected):
        probed(path, VideoLimits(60, 96 * 128 - 1))
    with pytest.raises(TooLargeError, match=expected):
        list(sampled_frames(path, ((1, 0),), VideoLimits(60, 96 * 128 - 1)))
