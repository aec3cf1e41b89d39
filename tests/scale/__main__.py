"""A plan to internet scale: `python -m tests.scale` (`make scale`), writes metrics/scale.json.

Reads metrics/bench.json, bench_serve.json and, where it exists, growth.json; measures what is cheap
and in none of them (a minute, after `dvc repro` or `dvc checkout`), unless `--keep` takes that from
the last metrics/scale.json. `make readme` puts the tables into the README.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import serve.untracked  # noqa: F401
from pipeline.core.files import to_json, write_json
from pipeline.runtime.cli import run_stage
from pipeline.training.review.readme_tables import machines_table, replicas_table, scale_table
from tests.scale.assumptions import Assumptions, add_options, assumptions_from
from tests.scale.measured import Measured, read_measured, read_report
from tests.scale.plan import Plan
from tests.scale.serving import replica_rows, serving_rows

METRICS = Path("metrics")
REPORT = METRICS / "scale.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="measure nothing anew")
    parser.add_argument("--out", type=Path, default=REPORT)
    add_options(parser)
    args = parser.parse_args()
    given = assumptions_from(args)
    found = read_measured(METRICS)
    small = read_report(REPORT, "make scale")["small"] if args.keep else measured_anew()
    # As the report will have them, so that its rows can be reckoned from it again.
    rounded = json.loads(to_json(small))
    report = planned(replace(found, small=rounded), given)
    write_json(args.out, report)
    for table in (scale_table, replicas_table, machines_table):
        print(f"{table(report)}\n")


def measured_anew() -> dict[str, Any]:
    """Takes torch and all that it measures along, which other prices do not need."""
    from tests.scale.small_measures import small_measures

    return small_measures()


def planned(found: Measured, given: Assumptions) -> dict[str, Any]:
    """JSON-ready: the small measurements, the assumptions and all rows."""
    plan = Plan(found, given)
    rows = [*plan.rows(), *serving_rows(found, given)]
    return {
        "assumptions": asdict(given),
        "small": found.small,
        "rows": [asdict(row) for row in rows],
        "replicas": [asdict(row) for row in replica_rows(found, given)],
        "machines": [asdict(row) for row in plan.machine_rows()],
    }


if __name__ == "__main__":
    run_stage(main)
