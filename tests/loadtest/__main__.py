"""Load test of the service: `python -m tests.loadtest`, writes metrics/bench_serve.json.

Starts the service on loopback with its default bundle. Run it by hand (`make bench-serve`, about
seven minutes) on an idle machine; it is not a stage of dvc.yaml. Clients and service use the same
cores, which slightly reduces the service's peak and slows down refusals.
"""

import argparse
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from loky import cpu_count

from pipeline.bundle.load import SPEC_FILE, read_spec
from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from serve.detector.bundles import find_bundle
from serve.settings import load_settings
from tests.loadtest.inputs import encoded, photograph
from tests.loadtest.measures import overhead, overload, reloads
from tests.loadtest.service import running_service
from tests.loadtest.soak import soak


@dataclass(frozen=True)
class Goal:
    """An upper or lower bound for a value of the report."""

    label: str
    part: str
    name: str
    bound: float
    at_least: bool = False

    def row(self, report: dict[str, Any]) -> str:
        value = report[self.part][self.name]
        value = len(value) if isinstance(value, dict | list) else value
        missed = value is None or (value < self.bound if self.at_least else value > self.bound)
        shown = "none" if value is None else f"{value:.3g}"
        sign, verdict = ">=" if self.at_least else "<=", "MISSED" if missed else "met"
        return f"{self.label:50} {shown:>8}   {sign} {self.bound:<6g} {verdict}"


GOALS = (
    Goal("/detect relative to the same work in one process", "overhead", "http_by_direct", 1.15),
    Goal(
        "goodput at twice the peak, relative to the peak", "overload", "goodput_by_peak", 0.9, True
    ),
    Goal("refusals at twice the peak, p99 ms", "overload", "refusal_p99_ms", 50),
    Goal("/health at twice the peak, p99 ms", "overload", "health_p99_ms", 250),
    Goal("statuses except 200 and 503 at twice the peak", "overload", "other_statuses", 0),
    Goal("errors during 50 reloads under load", "reloads", "errors", 0),
    Goal("soak: growth of memory, MB per minute", "soak", "rss_mb_per_min", 0.5),
    Goal("soak: kinds of unexpected responses", "soak", "unexpected", 0),
    Goal("soak: temporary files left", "soak", "temporary_files_left", 0),
    Goal("soak: child processes left", "soak", "children_left", 0),
    Goal("tracebacks in the log", "log", "tracebacks", 0),
    Goal("start of the process to /ready, s", "start", "cold_start_s", 5),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.loadtest", description=__doc__)
    parser.add_argument("--reloads", type=int, default=50, help="number of reloads under load")
    parser.add_argument("--soak-s", type=float, default=180, help="minimum soak time in seconds")
    parser.add_argument(
        "--soak-requests", type=int, default=3000, help="minimum number of soak requests"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("metrics/bench_serve.json"), help="report file"
    )
    args = parser.parse_args()
    report = measure(args.reloads, args.soak_s, args.soak_requests)
    write_json(args.out, report)
    for goal in GOALS:
        print(goal.row(report))


def measure(reload_count: int, soak_s: float, soak_requests: int) -> dict[str, Any]:
    """Run all parts in turn against one service process."""
    image = encoded(photograph())
    report: dict[str, Any] = {"machine": machine()}
    report["bundle"] = read_spec(find_bundle(load_settings().model_path) / SPEC_FILE).version
    with tempfile.TemporaryDirectory() as folder, running_service(Path(folder)) as service:
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "start": lambda: {"cold_start_s": service.cold_start_s},
            # First, in a new process: after the other parts memory fluctuates for minutes.
            "soak": lambda: soak(service, soak_s, soak_requests),
            "overhead": lambda: overhead(service, image),
            "overload": lambda: overload(service, image),
            "reloads": lambda: reloads(service, image, reload_count),
            "log": lambda: {"tracebacks": service.log.read_text().count("Traceback")},
        }
        for name, work in parts.items():
            report[name] = work()
            print(f"bench-serve: {name}: {report[name]}", flush=True)
    return report


def machine() -> dict[str, str | int]:
    """Description of the machine that was measured."""
    return {
        "cores": cpu_count(),
        "onnxruntime": onnxruntime.__version__,
        "processor": platform.machine(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


if __name__ == "__main__":
    run_stage(main)
