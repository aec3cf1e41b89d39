"""The benchmark's counting, goals and output; not its durations."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.training.review.readme_tables import with_parts
from tests.bench import __main__ as bench
from tests.bench import face_crops, references, swaps
from tests.bench.machine import machine
from tests.bench.options import Options
from tests.bench.rows import HEADINGS, Goal, Row, faster, longer, markdown, number, skipped
from tests.bench.scene_scan import unmatched
from tests.bench.timing import Spread, Timing, timed, times_longer
from tests.bench.training_step import largest_change
from tests.support.imports import ROOT
from tests.support.packed_split import packed_split

OURS = Timing(wall_s=(1.0, 2.0, 4.0), cpu_s=(1.0, 1.0, 1.0))
THEIRS = Timing(wall_s=(4.0, 4.0, 4.0), cpu_s=(4.0, 4.0, 4.0))


def test_rounds_take_turns_and_the_first_is_not_counted() -> None:
    called: list[str] = []
    works = {name: lambda name=name: called.append(name) for name in "ab"}
    found = timed(works, rounds=2)
    assert called == ["a", "b"] * 3
    assert all(len(timing.wall_s) == len(timing.cpu_s) == 2 for timing in found.values())
    assert all(seconds >= 0 for timing in found.values() for seconds in timing.wall_s)


def test_ratios_are_taken_within_a_round() -> None:
    assert times_longer(THEIRS, OURS) == Spread(median=2.0, least=1.0, greatest=4.0)
    assert OURS.rate(8) == Spread(median=4.0, least=2.0, greatest=8.0)
    assert OURS.scaled(2).each_ms(4) == Spread(median=1000.0, least=500.0, greatest=2000.0)
    assert THEIRS.processor.wall_s == THEIRS.cpu_s


@pytest.mark.parametrize(
    ("row", "goal", "reached"),
    [
        (faster("w", "a", OURS, THEIRS, 8, "items/s", Goal(2)), "at least 2", True),
        (faster("w", "a", OURS, THEIRS, 8, "items/s", Goal(2.1)), "at least 2.1", False),
        (
            faster("w", "a", OURS, THEIRS, 8, "items/s", Goal(4.5, of="ours")),
            "at least 4.5 items/s",
            False,
        ),
        (longer("w", "a", OURS, THEIRS, 1, "ms", Goal(0.5, at_least=False)), "at most 0.5", True),
        (faster("w", "a", OURS, THEIRS, 8, "items/s", None), "", None),
        (number("w", 3, "%", Goal(2, at_least=False, of="ours")), "at most 2 %", False),
    ],
)
def test_goals(row: Row, goal: str, reached: bool | None) -> None:
    assert (row.goal, row.reached) == (goal, reached)


def test_report_and_table(tmp_path: Path) -> None:
    rows = [
        faster("our work", "reference", OURS, THEIRS, 8, "items/s", Goal(2)),
        number("a number", 3, "%"),
        skipped("left out", "there is no model"),
    ]
    path = tmp_path / "bench.json"
    bench.write_report(path, rows, rounds=3)
    assert bench.read_rows(path) == rows
    assert json.loads(path.read_text())["rounds"] == 3
    heading, rule, *lines = markdown(bench.read_rows(path)).splitlines()
    assert heading == "| " + " | ".join(HEADINGS) + " |"
    assert set(rule) <= set("| -")
    assert lines[0] == (
        "| our work | 4 items/s | reference: 2 items/s | 2 (1-4) | at least 2 | yes |"
    )
    assert lines[1] == "| a number | 3 % |  |  |  |  |"
    assert lines[2] == "| left out | not measured | there is no model |  |  |  |"


def test_the_machine_is_described_without_naming_it() -> None:
    described = machine()
    assert described["cores"] >= 1
    assert set(described) == {
        "cores",
        "flags",
        "gpu",
        "processor",
        "python",
        "system",
        "versions",
    }


def test_what_is_not_there_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (row,) = face_crops.rows(Options(insightface_pack=tmp_path))
    assert row.ours is None
    assert "--insightface-pack" in row.note
    monkeypatch.chdir(tmp_path)
    (row,) = bench.measure(["swaps"], Options())
    assert (row.work, row.ours) == ("swaps", None)
    assert "not a packed split" in row.note


def test_a_row_measured_for_real(tmp_path: Path) -> None:
    store = packed_split(tmp_path, people=2, frames=2)
    images = swaps.context_images(store, 3)
    assert len(images) == 3
    assert {max(image.rgb.shape[:2]) for image in images} == {swaps.CONTEXT_PX}
    found = timed(swaps.swap_works(images), rounds=1)
    assert set(found) == {"swap", "degrade"}
    assert all(timing.wall_s[0] > 0 for timing in found.values())


@pytest.mark.slow
def test_the_face_detector_in_torch_finds_what_ours_finds() -> None:
    model = references.insightface_detector()._model
    blob = np.random.default_rng(0).normal(size=(1, 3, 320, 320)).astype(np.float32)
    feed = {model.session.get_inputs()[0].name: blob}
    expected = model.session.run(None, feed)
    found = references.TorchSession(Path(model.model_file)).run([], feed)
    assert len(found) == len(expected) == 9
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours, theirs, atol=1e-3)


def test_cuts_and_losses_are_compared() -> None:
    assert unmatched([10, 20, 30], [11, 30, 50]) == [20, 50]
    assert largest_change([1.0, 2.2], [1.0, 2.0]) == pytest.approx(10)


def test_the_readme_has_the_table_of_the_report() -> None:
    readme = (ROOT / bench.README).read_text(encoding="utf-8")
    rows = bench.read_rows(ROOT / bench.REPORT)
    assert with_parts(readme, {"bench": markdown(rows)}) == readme
    assert markdown(rows) in readme
