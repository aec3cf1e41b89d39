"""Update the README's generated tables and graph: `python -m stages.write_readme` (`make readme`).

Reads genuine.json, ablation.json and profile.json of metrics/, and dvc.yaml. Run by hand; not a
stage of dvc.yaml.
"""

from pathlib import Path

from pipeline.core.files import replacing
from pipeline.runtime.cli import run_stage
from pipeline.training.review.readme_tables import with_tables

README = Path("README.md")


def main() -> None:
    before = README.read_text(encoding="utf-8")
    after = with_tables(before, Path())
    with replacing(README) as temporary:
        temporary.write_text(after, encoding="utf-8")
    print(f"write_readme: {README} is {'unchanged' if after == before else 'updated'}")


if __name__ == "__main__":
    run_stage(main)
