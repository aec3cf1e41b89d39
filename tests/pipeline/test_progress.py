"""pipeline.runtime.progress: lines in a log, a bar on a terminal, and the items unchanged."""

import io
import sys
from collections.abc import Iterator

import pytest

from pipeline.runtime.progress import tracked


class Clock:
    """Seconds that pass only where a loop says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def looped(clock: Clock, *seconds: float) -> list[int]:
    """Run a loop whose items take so many seconds each; return the items."""

    def items() -> Iterator[int]:
        for number, took in enumerate(seconds):
            clock.now += took
            yield number

    return list(tracked(items(), len(seconds), "videos", clock))


@pytest.fixture(autouse=True)
def _stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/repo/stages/extract_frames.py"])


def test_a_loop_of_less_than_a_minute_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert looped(Clock(), *[19.9] * 3) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_long_loop_prints_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert looped(Clock(), *[0.5] * 300) == list(range(300))
    assert capsys.readouterr().err.splitlines() == [
        "extract_frames: 120 of 300 videos, 2.0 per s, 01:30 left",
        "extract_frames: 240 of 300 videos, 2.0 per s, 00:30 left",
    ]


def test_slow_items_are_counted_by_the_minute(capsys: pytest.CaptureFixture[str]) -> None:
    looped(Clock(), 50, 250, 300, 100)
    assert capsys.readouterr().err.splitlines() == [
        "extract_frames: 2 of 4 videos, 0.4 per min, 05:00 left",
        "extract_frames: 3 of 4 videos, 0.3 per min, 03:20 left",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_removes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert looped(Clock(), *[100] * 3) == [0, 1, 2]
    assert terminal.getvalue().startswith("\rextract_frames:   0%|")
    assert "0/3 [" in terminal.getvalue()
    assert terminal.getvalue().rsplit("\r", 2)[1].strip() == ""
    assert "\n" not in terminal.getvalue()
