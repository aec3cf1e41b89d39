"""Timing of works: interleaved rounds, their medians, and ratios within a round.

Seconds are specific to a machine; ratios within one run are comparable between machines.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Works = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over the rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(float(np.median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True)
class Timing:
    """Seconds of each measured round: wall time, and CPU time of this process."""

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]

    def rate(self, items: float) -> Spread:
        """Items per second of a work with `items` items per round."""
        return Spread.of([items / seconds for seconds in self.wall_s])

    def each_ms(self, items: float = 1) -> Spread:
        """Milliseconds per item."""
        return Spread.of([1000 * seconds / items for seconds in self.wall_s])

    def scaled(self, factor: float) -> "Timing":
        """Timing of a work `factor` times as long."""
        wall_s, cpu_s = (tuple(factor * s for s in side) for side in (self.wall_s, self.cpu_s))
        return Timing(wall_s, cpu_s)

    @property
    def processor(self) -> "Timing":
        """Timing with CPU time in place of wall time."""
        return Timing(self.cpu_s, self.cpu_s)


def timed(works: Works, rounds: int) -> dict[str, Timing]:
    """Run all works once to warm up, then `rounds` times each, interleaved."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            work()
            if number:
                cpu_s = time.process_time() - cpu_started
                taken[name].append((time.perf_counter() - started, cpu_s))
    return {
        name: Timing(tuple(wall for wall, _ in pairs), tuple(cpu for _, cpu in pairs))
        for name, pairs in taken.items()
    }


def times_longer(one: Timing, other: Timing) -> Spread:
    """Ratio of `one` to `other` per round, in which both have the same background load."""
    return Spread.of([a / b for a, b in zip(one.wall_s, other.wall_s, strict=True)])
