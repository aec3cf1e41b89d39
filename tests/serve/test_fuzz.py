"""A short run of tests.bench.fuzz; `make fuzz` is the long one."""

import io
import multiprocessing
from pathlib import Path

import pytest

from pipeline.media.video import probe
from pipeline.runtime.errors import DecodeError, TooLargeError
from serve.detector.images import decode_image
from tests.bench.fuzz import MAX_PIXELS, fuzz, seeds_of
from tests.support.damaged_files import image_seeds, mutated, video_seeds


def faults(kind: str, count: int) -> list[tuple[int, str]]:
    reports = list(fuzz(kind, first=0, count=count, seconds=600))
    assert [number for number, _ in reports] == list(range(count))
    return [report for report in reports if report[1]]


def test_a_few_damaged_images() -> None:
    assert faults("images", 200) == []


@pytest.mark.slow
def test_more_damaged_images() -> None:
    assert faults("images", 2000) == []


@pytest.mark.slow
def test_damaged_videos() -> None:
    assert faults("videos", 150) == []


def test_the_seeds_are_sound_and_most_mutations_are_not(tmp_path: Path) -> None:
    for name, content in image_seeds().items():
        (tmp_path / name).write_bytes(content)
        assert decode_image(tmp_path / name, MAX_PIXELS).rgb.shape[2] == 3
    for name, content in video_seeds().items():
        (tmp_path / name).write_bytes(content)
        assert probe(tmp_path / name).width_px == 96
    seeds = seeds_of("images")
    refused = 0
    for number in range(100):
        (tmp_path / "mutated").write_bytes(mutated(seeds, number))
        try:
            decode_image(tmp_path / "mutated", MAX_PIXELS)
        except DecodeError:
            refused += 1
    assert 20 <= refused < 100


def test_a_number_names_the_same_bytes() -> None:
    seeds = seeds_of("images")
    assert mutated(seeds, 7) == mutated(seeds_of("images"), 7)
    assert len({mutated(seeds, number) for number in range(50)}) == 50


@pytest.mark.slow
def test_a_crash_is_a_finding_and_the_run_goes_on() -> None:
    reports = fuzz("images", first=0, count=20_000, seconds=600)
    assert next(reports) == (0, "")
    (child,) = multiprocessing.active_children()
    child.kill()
    crash = next(report for report in reports if report[1])
    assert crash[1] == "the process exited with -9"
    assert next(reports) == (crash[0] + 1, "")
    reports.close()


@pytest.mark.parametrize("number", [532_532, 601_552])
@pytest.mark.slow
def test_a_gif_whose_frame_is_larger_than_its_screen_takes_no_room(number: int) -> None:
    """These took 1,378 and 537 MB before the size was checked."""
    with pytest.raises(TooLargeError):
        decode_image(io.BytesIO(mutated(seeds_of("images"), number)), MAX_PIXELS)
    assert list(fuzz("images", first=number, count=1, seconds=600)) == [(number, "")]


def test_a_video_of_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    content = video_seeds()["h264.mp4"]
    head, _, tail = content.rpartition(b"avc1")
    (tmp_path / "unknown.mp4").write_bytes(head + b"zzzz" + tail)
    with pytest.raises(DecodeError):
        probe(tmp_path / "unknown.mp4")
