"""Make the README's tables and graph anew: `python -m stages.write_readme` (`make readme`).

Reads genuine.json, ablation.json and profile.json of metrics/, and dvc.yaml. Run by hand; no stage
of dvc.yaml.
"""

from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.training.review.readme_tables import with_tables

README = Path("README.md")


def main() -> None:
    before = README.read_text(encoding="utf-8")
    after = with_tables(before, Path())
    README.write_text(after, encoding="utf-8")
    print(f"write_readme: {README} {'is as it was' if after == before else 'has changed'}")


if __name__ == "__main__":
    run_stage(main)
