"""Rows of the benchmark's table: our value, the reference, their ratio and the goal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tests.bench.timing import Spread, Timing, times_longer

HEADINGS = ("work", "ours", "measured against", "ratio", "goal", "reached?")


@dataclass(frozen=True)
class Goal:
    """A bound on the median of a row's ratio or of our value."""

    bound: float
    at_least: bool = True
    of: Literal["ratio", "ours"] = "ratio"

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Row:
    """One line of the table.

    unit: unit of ours and theirs. reached: None without a goal. note: reason why a row could not be
    measured; such a row has no values.
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
        """Cell texts in the order of HEADINGS."""
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
    """Row with items per second; the ratio is larger if ours is faster. items: per round."""
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
    """Row with milliseconds per item; the ratio is larger if ours is slower."""
    ratio = times_longer(ours, theirs)
    return _row(work, against, unit, ours.each_ms(items), theirs.each_ms(items), ratio, goal)


def number(work: str, value: float, unit: str, goal: Goal | None = None, note: str = "") -> Row:
    """Row with a single value and no reference."""
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
    compared = ratio if goal is not None and goal.of == "ratio" else ours
    reached = None if goal is None or compared is None else goal.met(compared.median)
    suffix = f" {unit}" if goal is not None and goal.of == "ours" else ""
    text = "" if goal is None else f"{goal}{suffix}"
    return Row(work, against, unit, ours, theirs, ratio, text, reached)


def row_from(values: dict[str, Any]) -> Row:
    """Inverse of `row_values`."""
    spreads = {
        name: Spread(**values[name]) if values[name] is not None else None
        for name in ("ours", "theirs", "ratio")
    }
    return Row(**{**values, **spreads})


def row_values(row: Row) -> dict[str, Any]:
    """JSON-ready values of a row."""
    return asdict(row)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def shown(value: float) -> str:
    """Format with three digits and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _spread(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    return f"{shown(ratio.median)} ({shown(ratio.least)}-{shown(ratio.greatest)})"
