"""CPU profile of stages: `python -m tests.bench.stage_profile LABEL STAGE ...`.

Runs each stage under py-spy with all its processes. Writes its CPU seconds per innermost function
of this project to metrics/profile.json under LABEL (`before`, `after`), for the README's table, and
the full stacks to data/profile/, in the folded format that speedscope.app draws as a flame graph.
Run it after `dvc repro`, on an idle machine.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from tests.bench.machine import machine

REPORT = Path("metrics/profile.json")
STACKS = Path("data/profile")
RATE_HZ = 50
# Functions below this fraction of a stage are summed as OTHER.
MIN_FRAC = 0.02
OTHER = "everything below 2 %"
OUTSIDE = "start and end of Python"
# Waiting threads that py-spy counts as busy.
WAITING = re.compile(r"(Condition\.wait|\w+Selector\.select|socket\.accept|_worker) \(.*$")
OURS = re.compile(r"^(?P<function>\S+) \((?:.*/)?(?P<file>(?:pipeline|stages)/[\w/]+\.py)")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.stage_profile", description=__doc__
    )
    parser.add_argument("label", metavar="LABEL")
    parser.add_argument("stages", nargs="+", metavar="STAGE")
    args = parser.parse_args()
    for stage in args.stages:
        found = seconds_by_function(folded_stacks(stage, STACKS / f"{stage}.{args.label}.folded"))
        report = json.loads(REPORT.read_text("utf-8")) if REPORT.exists() else {"stages": {}}
        report["machine"] = machine()
        report["stages"].setdefault(stage, {})[args.label] = found
        write_json(REPORT, report)
        for function, seconds in found.items():
            print(f"{stage:14} {seconds:8.1f} s  {function}")


def folded_stacks(stage: str, path: Path) -> str:
    """Run a stage under py-spy; returns lines of `outer;inner COUNT`. Raises PipelineError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sampling = ["--format", "raw", "--function", "--subprocesses", "--rate", str(RATE_HZ)]
    py_spy = Path(sys.executable).with_name("py-spy")
    command = [py_spy, "record", *sampling, "--output", path, "--"]
    done = subprocess.run(
        [*command, sys.executable, "-m", f"stages.{stage}"],
        env=os.environ | {"INSWAPPER_STAGE_CACHE": "off"},
        check=False,
    )
    if done.returncode:
        raise PipelineError(f"stage_profile: {stage} exited with {done.returncode} under {py_spy}")
    return path.read_text(encoding="utf-8")


def seconds_by_function(folded: str) -> dict[str, float]:
    """Seconds per innermost function of this project, largest first, OTHER last."""
    samples: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        if not WAITING.match(stack.rpartition(";")[2]):
            samples[innermost(stack)] += int(count)
    least = MIN_FRAC * samples.total()
    small = sum(count for count in samples.values() if count < least)
    large = {name: count for name, count in samples.most_common() if count >= least}
    return {name: count / RATE_HZ for name, count in {**large, OTHER: small}.items()}


def innermost(stack: str) -> str:
    """`file.py: function` of the innermost frame in this project."""
    frames = [OURS.match(frame) for frame in stack.split(";")]
    ours = [frame for frame in frames if frame]
    return f"{ours[-1]['file']}: {ours[-1]['function']}" if ours else OUTSIDE


if __name__ == "__main__":
    run_stage(main)
