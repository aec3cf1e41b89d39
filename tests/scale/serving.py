"""How many replicas of the service a load needs, by simulation."""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.runtime.errors import PipelineError
from serve.settings import Settings
from tests.scale.assumptions import MONTH_H, Assumptions
from tests.scale.measured import Measured
from tests.scale.queueing import Dispatch, Load, Outcome, Seconds, poisson_load, simulate
from tests.scale.rows import Kind, Row, computed, measured

LOADS = (0.7, 0.8, 0.9, 0.95, 1.0, 1.2)
REQUESTS = 60_000
SEED = 1
QUEUE_LENGTH: int = Settings.model_fields["queue_length"].default
DISPATCHES: dict[Dispatch, str] = {
    "random": "each to a replica at random",
    "shortest": "each to the least busy replica",
}
# Beyond this many times the replicas that the work keeps busy, more of them change nothing.
MOST_SPARE = 8


@dataclass(frozen=True)
class Answers:
    """Milliseconds within which half and 99 % are answered; the share that is refused."""

    p50_ms: float
    p99_ms: float
    refused: float

    @classmethod
    def of(cls, outcome: Outcome) -> "Answers":
        p50, p99 = (outcome.percentile_ms(percent) for percent in (50, 99))
        return cls(p50, p99, outcome.refused_frac)


@dataclass(frozen=True)
class ReplicaRow:
    """load: requests by what the replicas can do. answers: by the way of dispatch."""

    replicas: int
    cores: int
    load: float
    answers: dict[str, Answers]
    kind: Kind = "computed"


def serving_rows(found: Measured, given: Assumptions) -> list[Row]:
    rows = [
        measured(
            "requests answered", found.peak_hz, "a second", f"{found.cores} cores, closed loop"
        ),
        computed(
            "requests answered by a core", found.peak_hz / found.cores, "a second", "peak / cores"
        ),
    ]
    goal = f"99 % within {given.p99_ms:g} ms"
    for dispatch, text in DISPATCHES.items():
        cores = needed_replicas(found, given, dispatch) * found.cores
        what = f"{given.requests_s:,.0f} requests a second, {goal}, {text}"
        month_usd = cores * MONTH_H * given.core_hour_usd
        how = f"simulated: {cores // found.cores} replicas; {month_usd:,.0f} USD a month"
        rows.append(computed(what, cores, "cores", how))
    return rows


def replica_rows(found: Measured, given: Assumptions) -> list[ReplicaRow]:
    """From much room to overload, fewest replicas last."""
    load = _load(found, given)
    return [
        ReplicaRow(
            replicas,
            replicas * found.cores,
            given.requests_s / (replicas * found.peak_hz),
            {way: Answers.of(_simulated(load, replicas, way)) for way in DISPATCHES},
        )
        for replicas in (math.ceil(given.requests_s / (at * found.peak_hz)) for at in LOADS)
    ]


def needed_replicas(found: Measured, given: Assumptions, dispatch: Dispatch) -> int:
    """The fewest that answer in time and refuse few. Raises PipelineError if no number does."""
    load = _load(found, given)

    def suffices(replicas: int) -> bool:
        answers = Answers.of(_simulated(load, replicas, dispatch))
        return answers.p99_ms <= given.p99_ms and answers.refused <= given.refused_frac

    too_few = math.ceil(given.requests_s / found.peak_hz) - 1
    enough = MOST_SPARE * (too_few + 1)
    if not suffices(enough):
        alone_ms = 1000 * np.quantile(load.services_s, 0.99)
        raise PipelineError(
            f"--p99-ms: no number of replicas answers 99 % within {given.p99_ms:g} ms;"
            f" the work alone takes {alone_ms:.0f} ms"
        )
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if suffices(middle) else (middle, enough)
    return enough


def service_times(found: Measured) -> Seconds:
    """Spread as those of the sample's stills, with the mean that the measured peak tells."""
    quantiles = found.small["picture"]["stills_of_mean"]
    ranks = (np.arange(1000) + 0.5) / 1000
    shape = np.interp(ranks, np.linspace(0, 1, len(quantiles)), quantiles)
    return np.asarray(shape / shape.mean() / found.peak_hz)


def _load(found: Measured, given: Assumptions) -> Load:
    return poisson_load(given.requests_s, service_times(found), REQUESTS, SEED)


def _simulated(load: Load, replicas: int, dispatch: Dispatch) -> Outcome:
    return simulate(load, replicas, QUEUE_LENGTH, dispatch, SEED)
