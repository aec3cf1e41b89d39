"""What a benchmark says: rows of ours, what it is measured against, their ratio and its goal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tests.bench.timing import Spread, Timing, times_longer

HEADINGS = ("work", "ours", "measured against", "ratio", "goal", "reached?")


@dataclass(frozen=True)
class Goal:
    """A bound on the median of a row's ratio, or on ours."""

    bound: float
    at_least: bool = True
    of: Literal["ratio", "ours"] = "ratio"

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Row:
    """One line of the table. unit: of ours and theirs. reached: None where there is no goal.

    A row that could not be measured has a note alone: the reason.
    """

    work: str
    against: str = ""
    unit: str = ""
    ours: Spread | None = None
    theirs: Spread | None = None
    ratio: Spread | None = None
    goal: str = ""
    reached: bool | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """Texts in the order of HEADINGS."""
        theirs = "" if self.theirs is None else f": {shown(self.theirs.median)} {self.unit}"
        ours = "" if self.ours is None else f"{shown(self.ours.median)} {self.unit}"
        verdict = {True: "yes", False: "**no**", None: ""}[self.reached]
        if self.ours is None:
            return self.work, "not measured", self.note, "", "", ""
        return self.work, ours, self.against + theirs, _spread(self.ratio), self.goal, verdict


def skipped(work: str, reason: object) -> Row:
    return Row(work, note=str(reason))


def faster(
    work: str,
    against: str,
    ours: Timing,
    theirs: Timing,
    items: float,
    unit: str,
    goal: Goal | None,
) -> Row:
    """How many times as many items a second ours does; both do `items` a round."""
    ratio = times_longer(theirs, ours)
    return _row(work, against, unit, ours.rate(items), theirs.rate(items), ratio, goal)


def longer(
    work: str,
    against: str,
    ours: Timing,
    theirs: Timing,
    items: float,
    unit: str,
    goal: Goal | None,
) -> Row:
    """How many times as long ours takes, in milliseconds an item."""
    ratio = times_longer(ours, theirs)
    return _row(work, against, unit, ours.each_ms(items), theirs.each_ms(items), ratio, goal)


def number(work: str, value: float, unit: str, goal: Goal | None = None, note: str = "") -> Row:
    """A single number without a counterpart."""
    return _row(work, note, unit, Spread.of([value]), None, None, goal)


def _row(
    work: str,
    against: str,
    unit: str,
    ours: Spread,
    theirs: Spread | None,
    ratio: Spread | None,
    goal: Goal | None,
) -> Row:
    judged = ratio if goal is not None and goal.of == "ratio" else ours
    reached = None if goal is None or judged is None else goal.met(judged.median)
    suffix = f" {unit}" if goal is not None and goal.of == "ours" else ""
    text = "" if goal is None else f"{goal}{suffix}"
    return Row(work, against, unit, ours, theirs, ratio, text, reached)


def row_from(values: dict[str, Any]) -> Row:
    """A row as `row_values` wrote it."""
    spreads = {
        name: Spread(**values[name]) if values[name] is not None else None
        for name in ("ours", "theirs", "ratio")
    }
    return Row(**{**values, **spreads})


def row_values(row: Row) -> dict[str, Any]:
    """JSON-ready."""
    return asdict(row)


def markdown(rows: Sequence[Row]) -> str:
    """The table as tests/bench/README.md has it."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def shown(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _spread(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    return f"{shown(ratio.median)} ({shown(ratio.least)}-{shown(ratio.greatest)})"
