"""pipeline.training.scoring.headline: frames become videos, and few people are warned of."""

import pandas as pd
import pytest

from pipeline.training.scoring.headline import (
    FEWEST_PEOPLE,
    few_people,
    frames,
    headline_measures,
    videos,
)
from tests.training.test_slices import FACES, MISSED, SWAP, table_of


def test_a_frame_takes_its_worst_face_and_a_video_the_mean_of_its_frames() -> None:
    faces = table_of(
        {"video_id": "v", "score": 0.2},
        {"video_id": "v", "score": 0.8},
        {"video_id": "v", "score": 0.4, "frame_index": 1},
    )
    assert sorted(frames(faces)["score"]) == [0.4, 0.8]
    assert videos(faces, 0.6)["score"].tolist() == [pytest.approx(0.6)]


def test_videos_of_one_name_from_two_sources_stay_apart() -> None:
    faces = table_of(
        {"video_id": "001", "source": "a", "score": 0.2},
        SWAP | {"video_id": "001", "source": "b", "score": 0.8},
    )
    found = videos(faces, 0.6)
    assert found["score"].tolist() == [0.2, 0.8]
    assert found["label"].tolist() == [0, 1]


def test_a_video_is_flagged_as_in_the_service() -> None:
    """By the mean of its decided frames: a face that is too small neither accuses nor acquits."""
    small = {"verdict": "undecided"}
    faces = table_of(
        {"video_id": "a", "score": 0.7},
        {"video_id": "a", "score": 0.1, "frame_index": 1, **small},
        {"video_id": "b", "score": 0.7},
        {"video_id": "b", "score": 0.3, "frame_index": 1},
        {"video_id": "c", "score": 0.9, **small},
        {"video_id": "d", "score": 0.6},
    )
    assert videos(faces, 0.6)["called"].tolist() == [1.0, 0.0, 0.0, 1.0]


def values(faces: pd.DataFrame) -> dict[str, float | None]:
    found = {}
    for name, measure in headline_measures(faces, 0.6).items():
        try:
            found[name] = measure.value()
        except ValueError:
            found[name] = None
    return found


def test_the_frames_of_a_video_are_one_piece_of_evidence() -> None:
    """Nine frames of one missed fake are nine tenths of the frames and half of the videos."""
    long = [MISSED | {"video_id": "long", "frame_index": number} for number in range(9)]
    alarm = {"score": 0.7, "verdict": "fake"}
    found = values(table_of({}, {}, {}, alarm, SWAP, *long))
    assert (found["recall"], found["video_recall"]) == (0.1, 0.5)
    assert (found["fpr"], found["video_fpr"]) == (0.25, 0.25)
    assert found["video_auc"] == pytest.approx((4 + 3) / 8)


def test_each_generator_has_a_recall_of_its_own() -> None:
    other = {"fake_type": "uniface", "is_inswapper": 0}
    found = values(table_of({}, SWAP, MISSED, SWAP | other, SWAP | other, MISSED | other))
    assert found["inswapper_recall"] == 0.5
    assert found["uniface_recall"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(3 / 5)
    assert values(FACES)["uniface_recall"] is None


def test_auc_inside_sources_is_next_to_the_pooled_one() -> None:
    faces = table_of(
        {"source": "a", "score": 0.2},
        SWAP | {"source": "a", "score": 0.1},
        {"source": "b", "score": 0.3},
        SWAP | {"source": "b", "score": 0.9},
        SWAP | {"source": "b", "score": 0.8},
    )
    found = values(faces)
    assert found["within_source_auc"] == pytest.approx(2 / 3)
    assert found["auc"] == pytest.approx(4 / 6)
    assert values(FACES)["within_source_auc"] == values(FACES)["auc"]


def counts_of(real: int, fake: int) -> dict[str, int]:
    return {"n_real": 500, "n_fake": 500, "groups_real": real, "groups_fake": fake}


def test_few_people_are_one_line() -> None:
    enough = counts_of(FEWEST_PEOPLE, FEWEST_PEOPLE)
    assert few_people({"test": enough, "validation": enough}) == []
    (line,) = few_people({"test": counts_of(20, 3), "validation": enough})
    assert line == (
        "only 3 people with fakes in the test split: numbers are rough; at least 10 of each are "
        "needed (linked people count as one)"
    )
    (line,) = few_people({"test": counts_of(FEWEST_PEOPLE - 1, 1), "validation": counts_of(0, 99)})
    assert line.startswith(
        "only 1 person with fakes and 9 people with reals in the test split, 0 people with reals in"
        " the validation split: "
    )
