"""serve.video.videos.summary: verdict of a video from its frames and scenes."""

import pytest

from pipeline.decision.thresholds import Thresholds
from pipeline.frames.scenes import Scene
from serve.detector.inference import ImageResult
from serve.video.videos import FrameResult, summary

LIMITS = Thresholds(best_f1=0.5, low_fpr=0.8, balanced=0.5, suspicious=0.5)


def frame(index: int, scene: int, verdict: str, score: float | None) -> FrameResult:
    return FrameResult(index, index / 25, scene, ImageResult(verdict, score))  # type: ignore[arg-type]


def test_a_short_swap_in_a_long_video_is_announced() -> None:
    scenes = [Scene(0, 10), Scene(10, 20), Scene(20, 30)]
    frames = [
        frame(1, 0, "real", 0.1),
        frame(11, 1, "fake", 0.9),
        frame(12, 1, "fake", 0.8),
        frame(21, 2, "no_face", None),
        frame(22, 2, "real", 0.0),
    ]
    result = summary(scenes, frames, LIMITS)
    assert (result.verdict, result.score) == ("real", pytest.approx(0.45))
    assert [scene.verdict for scene in result.scenes] == ["real", "fake", "real"]
    assert [scene.score for scene in result.scenes] == pytest.approx([0.1, 0.85, 0.0])
    assert result.highest_scene == 1
    assert any("scene 2 of 3 is fake on its own" in warning for warning in result.warnings)


def test_undecided_frames_count_only_without_others() -> None:
    scenes = [Scene(0, 10), Scene(10, 20)]
    frames = [
        frame(1, 0, "undecided", 0.9),
        frame(2, 0, "real", 0.2),
        frame(11, 1, "undecided", 0.6),
    ]
    result = summary(scenes, frames, LIMITS)
    assert (result.verdict, result.score) == ("real", pytest.approx(0.2))
    assert (result.scenes[1].verdict, result.scenes[1].score) == ("undecided", pytest.approx(0.6))


def test_a_video_without_faces() -> None:
    result = summary([Scene(0, 9)], [frame(1, 0, "no_face", None)], LIMITS)
    assert (result.verdict, result.score, result.highest_scene) == ("no_face", None, None)
