"""pipeline.training.benchmark: what is counted, not how fast it is."""

from pathlib import Path

import pytest

from pipeline.params import load_params
from pipeline.training.benchmark import CONTEXT_PX, context_pictures, swap_report, timed
from tests.packed_split import packed_split


def test_rounds_take_turns_and_the_first_is_not_counted() -> None:
    called: list[tuple[str, int]] = []
    works = {name: lambda number, name=name: called.append((name, number)) for name in "ab"}
    found = timed(works, rounds=2, items=1)
    assert called == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    for row in found.values():
        assert 0 <= row["least_ms"] <= row["median_ms"] <= row["greatest_ms"]


def test_pictures_are_real_faces_in_contexts_of_one_size(tmp_path: Path) -> None:
    store = packed_split(tmp_path, people=2, frames=2)
    pictures = context_pictures(store, 3)
    assert len(pictures) == 3
    assert {max(picture.rgb.shape[:2]) for picture in pictures} == {CONTEXT_PX}
    report = swap_report(pictures, load_params(), rounds=1)
    assert set(report["work"]) == {"pseudo_swap", "degradations"}
    swaps = report["work"]["pseudo_swap"]["median_ms"]
    assert report["swaps_per_second"] == pytest.approx(1000 / swaps)
