"""Copy the verified export to data/release: `python -m stages.release [--from DIR] [--notes FILE]`.

Run by `make release` after a production run. Not a stage of dvc.yaml, because the result is
committed to Git.
"""

import argparse
from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.runtime.workers import worker_count
from pipeline.training.export.release import release, summary_lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.release", description=__doc__)
    parser.add_argument("--from", dest="exported", type=Path, default=Path("data/export"))
    parser.add_argument("--to", dest="target", type=Path, default=Path("data/release"))
    parser.add_argument("--notes", type=Path, help="Markdown to append to the model card")
    args = parser.parse_args()
    released = release(args.exported, args.target, args.notes, worker_count())
    for line in summary_lines(released):
        print(f"release: {line}")


if __name__ == "__main__":
    run_stage(main)
