"""/detect on Ray Serve against plain uvicorn: `python -m tests.bench.ray_serve`.

Writes metrics/ray_serve.json. All services run at the same time and are asked in turns, so that
whatever else the machine does falls on all of them. uvicorn and the single replica compute with all
cores; of two replicas each has half.
"""

import argparse
import signal
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from serve.detector.bundles import find_bundle
from serve.detector.cores import usable_cores
from tests.bench.machine import machine
from tests.bench.timing import Spread
from tests.loadtest.client import Upload, closed_loop, upload_of
from tests.loadtest.inputs import encoded, photograph
from tests.loadtest.service import running_service
from tests.ray_service import ray_service

REPORT = Path("metrics/ray_serve.json")
PLAIN = "uvicorn"
CLIENTS = (1, 4)
QUANTITIES = ("p50_ms", "p99_ms", "per_s")

Round = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ray_serve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100, help="of each service in a round")
    args = parser.parse_args()
    # The services must end with this process, and hear their own SIGINT where a shell's background
    # taught this process to ignore it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    upload = upload_of("/detect", "file", [encoded(photograph())])
    with ExitStack() as stack:
        ports = _start(stack)
        rows = {str(n): _measured(ports, upload, n, args) for n in CLIENTS}
        report = {
            "machine": machine(),
            "rounds": args.rounds,
            "requests": args.requests,
            "clients": rows,
        }
        # Before the services end, which may fail.
        write_json(REPORT, report)
        print(markdown(rows))


def _start(stack: ExitStack) -> dict[str, int]:
    """The port of each service, once all are ready."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    bundle = str(find_bundle(None).resolve())
    ports = {PLAIN: stack.enter_context(running_service(folder)).port}
    for replicas in (1, 2):
        threads = max(1, usable_cores() // replicas)
        options = {
            "num_cpus": 0.5,
            "runtime_env": {"env_vars": {"INSWAPPER_THREADS": str(threads)}},
        }
        service = stack.enter_context(
            ray_service(replicas, {"ray_actor_options": options}, INSWAPPER_MODEL_PATH=bundle)
        )
        ports[f"ray_{replicas}"] = int(service.address.rpartition(":")[2])
    return ports


def _measured(
    ports: Mapping[str, int], upload: Upload, clients: int, args: argparse.Namespace
) -> dict[str, Any]:
    rounds: dict[str, list[Round]] = {name: [] for name in ports}
    for number in range(args.rounds + 1):
        for name, port in ports.items():
            found = one_round(port, upload, clients, args.requests)
            # The first warms up.
            if number:
                rounds[name].append(found)
            print(f"bench: round {number}, {clients} clients, {name}: {found}", flush=True)
    return summary(rounds)


def one_round(port: int, upload: Upload, clients: int, requests: int) -> Round:
    """Milliseconds a request and requests a second of clients that ask without a pause.

    Raises PipelineError when a request is not answered by 200.
    """
    each = [upload] * (requests // clients)
    started = time.perf_counter()
    replies = [r for _, r in closed_loop(port, lambda _: each, clients, threading.Event())]
    taken_s = time.perf_counter() - started
    wrong = {reply.status for reply in replies} - {200}
    if wrong:
        raise PipelineError(f"bench: /detect answered {sorted(wrong)}; expected 200")
    p50, p99 = np.percentile([1000 * reply.taken_s for reply in replies], [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "per_s": len(replies) / taken_s}


def summary(rounds: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    """Medians over the rounds, and those of the ratios to uvicorn within a round."""
    rows: dict[str, Any] = {}
    for name, own in rounds.items():
        rows[name] = {
            quantity: _shown(Spread.of([found[quantity] for found in own]))
            for quantity in QUANTITIES
        }
        rows[name]["by_uvicorn"] = {
            quantity: _shown(
                Spread.of(
                    [a[quantity] / b[quantity] for a, b in zip(own, rounds[PLAIN], strict=True)]
                )
            )
            for quantity in QUANTITIES
        }
    return rows


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| clients | service | p50 ms | p99 ms | requests/s | p50 / uvicorn | requests / uvicorn |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for clients, services in rows.items():
        for name, row in services.items():
            ratios = row["by_uvicorn"]
            cells = [row[quantity]["median"] for quantity in QUANTITIES]
            cells += [ratios["p50_ms"]["median"], ratios["per_s"]["median"]]
            lines.append(f"| {clients} | {name} | " + " | ".join(f"{c:.3g}" for c in cells) + " |")
    return "\n".join(lines)


def _shown(spread: Spread) -> dict[str, float]:
    return {key: round(value, 3) for key, value in vars(spread).items()}


if __name__ == "__main__":
    run_stage(main)
