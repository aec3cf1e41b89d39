"""Video queue: one video at a time is read by a child process and scored frame by frame."""

import asyncio

from serve.detector.inference import SwapDetector
from serve.detector.inference_queue import InferenceQueue
from serve.problems import RETRY_AFTER_S, Problem
from serve.settings import Settings
from serve.video.progress import OnProgress, frames_progress, scenes_progress
from serve.video.reader import ReadFrame, VideoReader
from serve.video.sampling import SamplePlan
from serve.video.videos import FrameResult, VideoResult, sampling_of, summary


class VideoQueue:
    """Processes videos in the order in which they arrive.

    A frame is requested only after the previous one was scored. At most one video frame is
    therefore ahead of an image in the inference queue, and few frames are in memory.
    """

    def __init__(self, settings: Settings, inference_queue: InferenceQueue) -> None:
        self._settings = settings
        self._queue = inference_queue
        self._reader = VideoReader.of(settings)
        self._processing = asyncio.Lock()
        self._probing = asyncio.Lock()

    async def length_s(self, fd: int) -> float:
        """Length stated in the video's header, 0 if there is none.

        Does not wait for the video being processed. Raises DecodeError, TooLargeError, or Problem
        503 when the deadline passes.
        """
        deadline_s = self._settings.deadline_s
        try:
            async with asyncio.timeout(deadline_s), self._probing:
                return await self._reader.length_s(fd)
        except TimeoutError:
            detail = f"the video's header could not be read within {deadline_s:g} s"
            raise Problem(503, detail, retry_after_s=RETRY_AFTER_S) from None

    async def score(self, detector: SwapDetector, fd: int, report: OnProgress) -> VideoResult:
        """Wait in the queue, then score the video that is open as `fd`.

        Cancelling kills the child process. Raises DecodeError or TooLargeError.
        """
        async with self._processing:
            report(scenes_progress(0.0))
            return await self._score(detector, fd, report)

    async def _score(self, detector: SwapDetector, fd: int, report: OnProgress) -> VideoResult:
        plan = SamplePlan((), (), 0)
        frames: list[FrameResult] = []
        sampling = sampling_of(detector.bundle.spec.sampling, self._settings)
        async with self._reader.read(fd, sampling) as messages:
            async for message in messages:
                if isinstance(message, SamplePlan):
                    plan = message
                elif isinstance(message, ReadFrame):
                    frames.append(await self._score_frame(detector, message, plan))
                else:
                    report(scenes_progress(message))
                    continue
                report(frames_progress(len(frames), len(plan.picks)))
        return summary(plan.scenes, frames, detector.decision.thresholds, plan.warnings)

    async def _score_frame(
        self, detector: SwapDetector, frame: ReadFrame, plan: SamplePlan
    ) -> FrameResult:
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._queue.executor, detector.score_image, frame.rgb)
        return FrameResult(frame.index, frame.timestamp_s, dict(plan.picks)[frame.index], result)
