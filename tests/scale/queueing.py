"""Replicas of the service as queues: what a request waits, and how many are refused.

A replica is serve.detector.lane.Lane: one inference at a time, first come first served, and a
refusal when `queue_length` requests are inside. The lane's deadline (30 s) lies beyond the longest
wait in it.
"""

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
# random: as a Kubernetes service spreads connections; shortest: a proxy that knows who is idle.
Dispatch = Literal["random", "shortest"]
# The queues start empty: what comes before this share of the time is not counted.
WARM_UP_FRAC = 0.1


@dataclass(frozen=True, eq=False)
class Outcome:
    """latencies_s: of those who were served, waiting and service. refused_frac: in [0, 1]."""

    latencies_s: Seconds
    refused_frac: float

    def percentile_ms(self, percent: float) -> float:
        return float(1000 * np.percentile(self.latencies_s, percent))


@dataclass(frozen=True, eq=False)
class Load:
    """Requests in the order of their arrival. services_s: how long each occupies a lane."""

    arrivals_s: Seconds
    services_s: Seconds


def poisson_load(rate_hz: float, services_s: Seconds, count: int, seed: int) -> Load:
    """Arrivals at random moments, each with one of the service times at random."""
    rng = np.random.default_rng(seed)
    arrivals_s = np.cumsum(rng.exponential(1 / rate_hz, count))
    return Load(arrivals_s, rng.choice(services_s, count))


def simulate(
    load: Load, replicas: int, queue_length: int, dispatch: Dispatch, seed: int = 0
) -> Outcome:
    """Let every request choose its replica, wait there and be served, or be refused."""
    picks = np.random.default_rng(seed).integers(replicas, size=len(load.arrivals_s)).tolist()
    inside, free_at = [0] * replicas, [0.0] * replicas
    leaving: list[tuple[float, int]] = []
    latencies: list[float | None] = []
    requests = zip(load.arrivals_s.tolist(), load.services_s.tolist(), picks, strict=True)
    for arrival, service, pick in requests:
        while leaving and leaving[0][0] <= arrival:
            inside[heapq.heappop(leaving)[1]] -= 1
        replica = pick if dispatch == "random" else inside.index(min(inside))
        if inside[replica] >= queue_length:
            latencies.append(None)
            continue
        free_at[replica] = max(arrival, free_at[replica]) + service
        inside[replica] += 1
        heapq.heappush(leaving, (free_at[replica], replica))
        latencies.append(free_at[replica] - arrival)
    counted = latencies[int(WARM_UP_FRAC * len(latencies)) :]
    served = [latency for latency in counted if latency is not None]
    return Outcome(np.array(served), 1 - len(served) / len(counted))
