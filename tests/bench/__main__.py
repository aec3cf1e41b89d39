"""Benchmark of the pipeline and the detector: `python -m tests.bench`, writes metrics/bench.json.

Run it by hand (`make bench`, about ten minutes) on an idle machine after `make repro`; it is not a
stage of dvc.yaml. A full run also updates the table in tests/bench/README.md. `--rows NAME ...`
measures only some groups and prints their table.
"""

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import serve.untracked  # noqa: F401
from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from pipeline.training.review.readme_tables import with_parts
from tests.bench.machine import machine
from tests.bench.options import Options
from tests.bench.rows import Row, markdown, row_from, row_values, skipped

REPORT = Path("metrics/bench.json")
README = Path("tests/bench/README.md")
# Each is a module with a function `rows(options)`, imported just before it runs.
GROUPS = (
    "training_input",
    "swaps",
    "training_step",
    "scene_scan",
    "face_crops",
    "image_verdict",
    "video_verdict",
    "rebuild",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    groups_help = f"groups to measure: {', '.join(GROUPS)}; default all"
    parser.add_argument(
        "--rows", nargs="+", choices=GROUPS, default=GROUPS, metavar="NAME", help=groups_help
    )
    parser.add_argument(
        "--rounds", type=int, default=Options.rounds, help="measured rounds; default %(default)s"
    )
    parser.add_argument(
        "--insightface-pack", type=Path, help="folder with the ONNX models of buffalo_l"
    )
    parser.add_argument("--clip", type=Path, help="additional video for the scene detection")
    args = parser.parse_args()
    rows = measure(args.rows, Options(args.rounds, args.insightface_pack, args.clip))
    if tuple(args.rows) == GROUPS:
        write_report(REPORT, rows, args.rounds)
        text = README.read_text(encoding="utf-8")
        README.write_text(with_parts(text, {"bench": markdown(rows)}), encoding="utf-8")
    print(markdown(rows))


def measure(groups: list[str], options: Options) -> list[Row]:
    """Rows of the groups, measured in order; a group that fails becomes a row with the reason."""
    rows = []
    for name in groups:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        group: Callable[[Options], list[Row]] = import_module(f"tests.bench.{name}").rows
        try:
            rows += group(options)
        except PipelineError as error:
            rows.append(skipped(name.replace("_", " "), str(error).splitlines()[0]))
    return rows


def write_report(path: Path, rows: list[Row], rounds: int) -> None:
    values = [row_values(row) for row in rows]
    write_json(path, {"machine": machine(), "rounds": rounds, "rows": values})


def read_rows(path: Path) -> list[Row]:
    report = json.loads(path.read_text(encoding="utf-8"))
    return [row_from(values) for values in report["rows"]]


if __name__ == "__main__":
    run_stage(main)
