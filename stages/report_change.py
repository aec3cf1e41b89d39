"""Print the effects of a change as Markdown: `python -m stages.report_change --base main`.

Reads metrics, params.yaml, dvc.lock and the Git revision; needs git and dvc, but no data. Run by
hand or by CI (`make report BASE=main`); not a stage of dvc.yaml.
"""

import argparse
from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.training.review.change_report import change_report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report_change", description=__doc__)
    parser.add_argument("--base", default="main", help="Git revision to compare with")
    print(change_report(Path(), parser.parse_args().base), end="")


if __name__ == "__main__":
    run_stage(main)
