"""serve.video.reader: messages of the child process, and every way in which it may fail."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline.media.video import read_frames
from pipeline.media.video_writer import write_video
from pipeline.runtime.errors import DecodeError, TooLargeError
from serve.video.files import VideoLimits
from serve.video.reader import ReadFrame, VideoReader
from serve.video.sampling import SamplePlan, Sampling, plan_samples
from tests.support.dissolving import dissolve
from tests.support.slow_videos import readers, write_360p, write_long
from tests.support.synthetic import draw_scenery

SAMPLING = Sampling(frames_per_scene=6, scene_threshold=0.35, min_scene_s=0.4, max_frames=600)
READER = VideoReader(VideoLimits(3600, 50_000_000), memory_mb=2048, cpu_s=60, timeout_s=120)


def with_fd(path: Path, work: Callable[[int], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        fd = os.open(path, os.O_RDONLY)
        try:
            return await work(fd)
        finally:
            os.close(fd)

    return asyncio.run(run())


async def consume(reader: VideoReader, fd: int, sampling: Sampling = SAMPLING) -> list[Any]:
    async with reader.read(fd, sampling) as messages:
        return [message async for message in messages]


def read(path: Path, reader: VideoReader = READER, sampling: Sampling = SAMPLING) -> list[Any]:
    return list(with_fd(path, lambda fd: consume(reader, fd, sampling)))


def test_the_child_reads_what_this_process_reads(clip: Path) -> None:
    *_, plan = (message for message in read(clip) if isinstance(message, SamplePlan))
    assert plan == plan_samples(clip, SAMPLING)
    frames = [message for message in read(clip) if isinstance(message, ReadFrame)]
    direct = list(read_frames(clip, [index for index, _ in plan.picks]))
    assert [(f.index, f.timestamp_s) for f in frames] == [(index, t) for index, t, _ in direct]
    assert all(np.array_equal(f.rgb, rgb) for f, (_, _, rgb) in zip(frames, direct, strict=True))
    assert readers() == []


def test_blends_of_two_shots_are_not_scored(tmp_path: Path) -> None:
    one, two = ([draw_scenery(seed, 96, 128)] * 40 for seed in (1, 7))
    write_video(tmp_path / "clip.mp4", dissolve(one, two, 20), 25)
    messages = read(tmp_path / "clip.mp4")
    (plan,) = (message for message in messages if isinstance(message, SamplePlan))
    first, second = plan.scenes
    assert (first.start, second.stop) == (0, 60)
    assert first.stop <= 20 < 40 <= second.start == first.stop + first.gap
    frames = [message.index for message in messages if isinstance(message, ReadFrame)]
    assert len(frames) == 12
    assert not set(frames) & set(range(20, 40))


def test_rows_of_pixels_without_padding(tmp_path: Path) -> None:
    """libav pads the rows of a frame of this width."""
    rgb = draw_scenery(4, 66, 98)
    write_video(tmp_path / "odd.mp4", [rgb] * 20, 25, crf=1)
    frame = next(m for m in read(tmp_path / "odd.mp4") if isinstance(m, ReadFrame))
    assert frame.rgb.shape == (66, 98, 3)
    assert np.abs(frame.rgb.astype(int) - rgb).mean() < 12


def test_length(clip: Path) -> None:
    assert with_fd(clip, READER.length_s) == pytest.approx(1.2)


def test_an_hour_too_long(tmp_path: Path) -> None:
    write_long(tmp_path / "long.mp4", 3700)
    with pytest.raises(TooLargeError, match=r"3700 s is above the limit of 3600 s"):
        with_fd(tmp_path / "long.mp4", READER.length_s)
    # The header is not trusted: the timestamp of each frame is checked too.
    with pytest.raises(TooLargeError, match="above the limit of 2000 s"):
        read(tmp_path / "long.mp4", replace(READER, limits=VideoLimits(2000, 50_000_000)))


def test_frames_too_large(clip: Path) -> None:
    reader = replace(READER, limits=VideoLimits(3600, 208 * 160 - 1))
    with pytest.raises(TooLargeError, match="208x160 px is above the limit of 33279 px"):
        with_fd(clip, reader.length_s)
    with pytest.raises(TooLargeError, match="208x160 px"):
        read(clip, reader)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x00\x18ftypmp42" + b"rubbish" * 300,
        b"#EXTM3U\nhttp://127.0.0.1:1/x.ts\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DecodeError) as caught:
        with_fd(tmp_path / "a.mp4", READER.length_s)
    assert "/dev/fd" not in str(caught.value)


def test_a_truncated_video(clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(DecodeError):
        read(tmp_path / "cut.mp4")


def test_too_much_memory(large_video: Path) -> None:
    with pytest.raises(TooLargeError, match=r"more than 600 MB .*INSWAPPER_VIDEO_MEMORY_MB"):
        read(large_video, replace(READER, memory_mb=600))


@pytest.mark.slow
def test_too_much_processor_time(slow_video: Path) -> None:
    with pytest.raises(TooLargeError, match=r"more than 1 s .*INSWAPPER_VIDEO_CPU_S"):
        read(slow_video, replace(READER, cpu_s=1))
    assert readers() == []


async def reader_of(task: asyncio.Task[Any]) -> psutil.Process:
    while not (found := readers()):
        assert not task.done()
        await asyncio.sleep(0.01)
    return found[0]


@pytest.mark.slow
def test_a_hung_child_hits_the_wall(slow_video: Path) -> None:
    async def hang(fd: int) -> None:
        task = asyncio.create_task(consume(replace(READER, timeout_s=1.5), fd))
        child = await reader_of(task)
        child.suspend()
        with pytest.raises(TooLargeError, match=r"within 1\.5 s .*INSWAPPER_VIDEO_TIMEOUT_S"):
            await task
        assert not child.is_running()

    with_fd(slow_video, hang)


def test_a_killed_child_is_an_unusable_video(slow_video: Path) -> None:
    async def kill(fd: int) -> None:
        task = asyncio.create_task(consume(READER, fd))
        (await reader_of(task)).kill()
        with pytest.raises(DecodeError, match="SIGKILL"):
            await task

    with_fd(slow_video, kill)


def test_cancelling_ends_the_child(slow_video: Path) -> None:
    async def cancel(fd: int) -> None:
        task = asyncio.create_task(consume(READER, fd))
        child = await reader_of(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not child.is_running()

    with_fd(slow_video, cancel)


@pytest.mark.slow
def test_a_slow_consumer_slows_the_child_down(tmp_path: Path) -> None:
    """Only one of 28 frames (19 MB) is requested, so the child is blocked with the rest."""
    write_360p(tmp_path / "clip.mp4")

    async def stop_early(fd: int) -> None:
        async with READER.read(fd, replace(SAMPLING, frames_per_scene=28)) as messages:
            async for message in messages:
                if isinstance(message, ReadFrame):
                    break
            (child,) = readers()
            with pytest.raises(psutil.TimeoutExpired):
                await asyncio.to_thread(child.wait, 0.5)
        assert not child.is_running()

    with_fd(tmp_path / "clip.mp4", stop_early)


def test_the_child_knows_no_settings(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_ADMIN_TOKEN", "secret")

    async def look(fd: int) -> None:
        async with READER.read(fd, SAMPLING) as messages:
            await anext(messages)
            (child,) = readers()
            assert not any(name.startswith("INSWAPPER_") for name in child.environ())

    with_fd(clip, look)
