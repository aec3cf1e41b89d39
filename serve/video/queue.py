"""One video at a time: a child process reads it, the inference lane judges its frames."""

import asyncio

from serve.detector.inference import SwapDetector
from serve.detector.inference_queue import InferenceQueue
from serve.problems import RETRY_AFTER_S, Problem
from serve.settings import Settings
from serve.video.progress import Report, frames_progress, scenes_progress
from serve.video.reader import ReadFrame, VideoReader
from serve.video.sampling import SamplePlan
from serve.video.videos import FrameResult, VideoResult, sampling_of, summary


class VideoQueue:
    """Videos wait for their turn in the order in which they came.

    A frame is asked for when the one before it was judged, so that at most one video frame stands
    before any image in the inference_queue, and few of them are in memory.
    """

    def __init__(self, settings: Settings, inference_queue: InferenceQueue) -> None:
        self._settings = settings
        self._queue = inference_queue
        self._reader = VideoReader.of(settings)
        self._turn = asyncio.Lock()
        self._probing = asyncio.Lock()

    async def length_s(self, fd: int) -> float:
        """Length that the header tells, 0 if it does not; soon, even while a video is judged.

        Raises DecodeError, TooLargeError, or the 503 problem when the deadline passes.
        """
        deadline_s = self._settings.deadline_s
        try:
            async with asyncio.timeout(deadline_s), self._probing:
                return await self._reader.length_s(fd)
        except TimeoutError:
            detail = f"the video could not be looked at within {deadline_s:g} s"
            raise Problem(503, detail, retry_after_s=RETRY_AFTER_S) from None

    async def judge(self, detector: SwapDetector, fd: int, report: Report) -> VideoResult:
        """Judge the video that is open as `fd` when its turn comes.

        Cancelling ends the child process. Raises DecodeError or TooLargeError.
        """
        async with self._turn:
            report(scenes_progress(0.0))
            return await self._judge(detector, fd, report)

    async def _judge(self, detector: SwapDetector, fd: int, report: Report) -> VideoResult:
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
