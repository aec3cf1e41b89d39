"""Print the test metrics and how to try the detector; the last step of `make repro`."""

from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.training.evaluation.evaluate import headline_lines
from pipeline.training.evaluation.schema import read_report

TEST_REPORT = Path("metrics/test_report.json")
HOW_TO_TRY = """
Report with plots and the worst mistakes: data/reports/test.html
Try the detector:
  . .venv/bin/activate
  python -m serve.predict face.jpg clip.mp4 --json"""


def main() -> None:
    root = load_params().data.root
    report = read_report(TEST_REPORT)
    print(f"\nTest metrics of the detector trained on {root} ({TEST_REPORT}), with 95 % intervals:")
    for line in headline_lines(report.headline):
        print(f"  {line}")
    for line in report.warnings:
        print(f"  warning: {line}")
    if root == "data/sample":
        print("The embedded sample demonstrates the pipeline, not accuracy on genuine swaps.")
    print(HOW_TO_TRY)


if __name__ == "__main__":
    run_stage(main)
