"""Reading of videos in a child process with resource limits, which protect the service."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pipeline.core.arrays import ImageU8
from pipeline.frames.scenes import Scene
from pipeline.runtime.errors import DecodeError, TooLargeError
from serve.settings import PREFIX, Settings
from serve.video.child import ERRORS, MEMORY
from serve.video.files import VideoLimits
from serve.video.sampling import SamplePlan, Sampling

CHILD = "serve.video.child"
ROOT = Path(__file__).resolve().parents[2]
# At most twice this is buffered, so that the child waits while the inference queue is busy.
READ_AHEAD_BYTES = 1 << 20
# Stacks and arenas of further threads would count against the address space.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True, eq=False)
class ReadFrame:
    """A sampled frame. index: position in the video. rgb: (H, W, 3) uint8, upright."""

    index: int
    timestamp_s: float
    rgb: ImageU8


Message = float | SamplePlan | ReadFrame


@dataclass(frozen=True)
class VideoReader:
    """Starts child processes that read videos.

    limits: limits of the video. memory_mb, cpu_s, timeout_s: limits of the child process.
    """

    limits: VideoLimits
    memory_mb: int
    cpu_s: int
    timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> "VideoReader":
        return cls(
            VideoLimits(settings.max_video_s, settings.max_image_pixels),
            settings.video_memory_mb,
            settings.video_cpu_s,
            settings.video_timeout_s,
        )

    async def length_s(self, fd: int) -> float:
        """Length of the video that is open as `fd`, 0 if its header states none.

        Raises DecodeError or TooLargeError, as `read` does.
        """
        async with self._child(fd, None) as process:
            return float((await self._header(process))["length_s"])

    @asynccontextmanager
    async def read(self, fd: int, sampling: Sampling) -> AsyncIterator[AsyncIterator[Message]]:
        """Context with the messages of the child process, which is killed at its end.

        Messages are the searched fraction of the file (0..1), the plan, then its frames in order.
        Raises DecodeError for a video that cannot be read or crashes the child, TooLargeError for
        one that exceeds a limit.
        """
        async with (
            self._child(fd, sampling) as process,
            aclosing(self._messages(process)) as messages,
        ):
            yield messages

    async def _messages(self, process: Process) -> AsyncGenerator[Message]:
        while "end" not in (header := await self._header(process)):
            if "plan" in header:
                yield _plan(**header["plan"])
            elif "frame" in header:
                yield await self._frame(process, header)
            else:
                yield float(header["read_frac"])

    async def _frame(self, process: Process, header: dict[str, Any]) -> ReadFrame:
        height, width = int(header["height"]), int(header["width"])
        # Checked again here, because an exploited decoder may control the child.
        self.limits.check_size(width, height)
        assert process.stdout is not None
        try:
            pixels = await process.stdout.readexactly(3 * height * width)
        except asyncio.IncompleteReadError:
            await self._fail(process)
        rgb = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)
        return ReadFrame(int(header["frame"]), float(header["timestamp_s"]), rgb)

    async def _header(self, process: Process) -> dict[str, Any]:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            await self._fail(process)
        header: dict[str, Any] = json.loads(line)
        if header.get("error") == MEMORY:
            raise TooLargeError(self._too_much_memory())
        if "error" in header:
            raise ERRORS[header["error"]](header["detail"])
        return header

    async def _fail(self, process: Process) -> NoReturn:
        """Raise the error for a process that ended early."""
        code = await process.wait()
        if code == -signal.SIGXCPU:
            raise TooLargeError(
                f"reading the video takes more than {self.cpu_s} s of CPU time"
                " (INSWAPPER_VIDEO_CPU_S)"
            )
        raise DecodeError(f"the process that reads the video failed ({_ending(code)})")

    def _too_much_memory(self) -> str:
        return (
            f"reading the video takes more than {self.memory_mb} MB of memory"
            " (INSWAPPER_VIDEO_MEMORY_MB)"
        )

    @asynccontextmanager
    async def _child(self, fd: int, sampling: Sampling | None) -> AsyncIterator[Process]:
        order = {
            "fd": fd,
            "memory_mb": self.memory_mb,
            "cpu_s": self.cpu_s,
            "limits": asdict(self.limits),
            "sampling": None if sampling is None else asdict(sampling),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", CHILD, json.dumps(order)),
            cwd=ROOT,
            env=_environment(),
            limit=READ_AHEAD_BYTES,
            pass_fds=(fd,),
            start_new_session=True,  # Ctrl-C should reach only the service
            stdin=DEVNULL,
            stdout=PIPE,
        )
        try:
            async with asyncio.timeout(self.timeout_s):
                yield process
        except TimeoutError:
            raise TooLargeError(
                f"the video was not processed within {self.timeout_s:g} s"
                " (INSWAPPER_VIDEO_TIMEOUT_S)"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            # Also drains the pipe: a full one would block waiting for the process.
            await process.communicate()


def _environment() -> dict[str, str]:
    """Environment without the service's settings, to hide the token from an exploited decoder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | ONE_THREAD


def _plan(scenes: list[dict[str, int]], picks: list[list[int]], wanted: int) -> SamplePlan:
    return SamplePlan(
        scenes=tuple(Scene(**scene) for scene in scenes),
        picks=tuple((index, scene) for index, scene in picks),
        wanted=wanted,
    )


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
