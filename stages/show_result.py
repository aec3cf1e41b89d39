"""Print the test metrics and how to try the detector; `make repro` ends with it."""

import json
from pathlib import Path

from pipeline.cli import run_stage
from pipeline.errors import PipelineError

TEST_METRICS = Path("metrics/test.json")


def main() -> None:
    if not TEST_METRICS.exists():
        raise PipelineError(f"{TEST_METRICS}: not found; run `dvc repro` first")
    metrics = json.loads(TEST_METRICS.read_text(encoding="utf-8"))
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    run_stage(main)
