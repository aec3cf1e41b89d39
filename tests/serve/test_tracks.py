"""serve.video.tracks: exact links, chains and verdicts."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.decision.thresholds import Thresholds
from serve.detector.inference import ImageResult
from serve.video.tracks import box_iou, follow, link, tracks_of

LIMITS = Thresholds(best_f1=0.5, low_fpr=0.8, balanced=0.5, suspicious=0.5)
LEFT, RIGHT = (0, 0, 10, 10), (20, 0, 30, 10)


def moved(box: tuple[int, ...], x: int) -> tuple[int, ...]:
    return (box[0] + x, box[1], box[2] + x, box[3])


def boxes(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def image(*faces: tuple[tuple[int, ...], str, float]) -> ImageResult:
    """Result of a frame with these faces: (box, verdict, score)."""
    found: list[Any] = [
        SimpleNamespace(face=SimpleNamespace(box_xyxy=np.array(box)), verdict=verdict, score=score)
        for box, verdict, score in faces
    ]
    return ImageResult("real", 0.0, tuple(found))


def test_box_iou() -> None:
    found = box_iou(boxes(LEFT, RIGHT), boxes(LEFT, (5, 0, 15, 10), (100, 100, 110, 110)))
    assert found == pytest.approx(np.array([[1, 50 / 150, 0], [0, 0, 0]]))
    assert box_iou(boxes(), boxes(LEFT)).shape == (0, 1)


def test_a_link_needs_three_tenths_of_overlap() -> None:
    # A shift of d leaves (10 - d) / (10 + d).
    assert link(boxes(LEFT), boxes(moved(LEFT, 5))) == {0: 0}  # 1/3
    assert link(boxes(LEFT), boxes(moved(LEFT, 6))) == {}  # 1/4


def test_links_are_one_to_one_and_the_best_goes_first() -> None:
    # The first face overlaps both, the second only the first; the better pair is linked.
    before = boxes(LEFT)
    assert link(before, boxes(moved(LEFT, 2), moved(LEFT, 1))) == {1: 0}
    crossed = link(boxes(LEFT, RIGHT), boxes(moved(RIGHT, 1), moved(LEFT, 1)))
    assert crossed == {0: 1, 1: 0}


def test_chains_end_with_the_scene_and_with_a_gap() -> None:
    frames = [boxes(LEFT, RIGHT), boxes(RIGHT, LEFT), boxes(LEFT), boxes(), boxes(LEFT)]
    assert follow(frames, [0, 0, 1, 1, 1]) == [
        [(0, 0), (1, 1)],
        [(0, 1), (1, 0)],
        [(2, 0)],
        [(4, 0)],
    ]
    assert follow([], []) == []


def test_the_most_alarming_track_is_first() -> None:
    images = [
        image((LEFT, "real", 0.2), (RIGHT, "fake", 0.9)),
        image((moved(RIGHT, 1), "suspicious", 0.7), (moved(LEFT, 1), "real", 0.4)),
    ]
    first, second = tracks_of(images, [3, 3], LIMITS)
    assert first.to_dict() == {
        "track": 1,
        "scene": 3,
        "verdict": "fake",
        "score": 0.8,
        "highest": 0.9,
        "faces": [{"frame": 0, "face": 1}, {"frame": 1, "face": 0}],
    }
    assert (second.track, second.verdict, second.score) == (0, "real", pytest.approx(0.3))


def test_undecided_faces_count_only_without_others() -> None:
    mixed = [image((LEFT, "undecided", 0.99)), image((LEFT, "real", 0.1))]
    (track,) = tracks_of(mixed, [0, 0], LIMITS)
    assert (track.verdict, track.score, track.highest) == ("real", 0.1, 0.1)
    alone = [image((LEFT, "undecided", 0.9)), image((LEFT, "undecided", 0.5))]
    (track,) = tracks_of(alone, [0, 0], LIMITS)
    assert (track.verdict, track.score, track.highest) == ("undecided", pytest.approx(0.7), 0.9)


def test_frames_without_faces_give_no_track() -> None:
    assert tracks_of([ImageResult("no_face", None)], [0], LIMITS) == ()
