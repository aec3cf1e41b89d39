"""Update the generated parts of the README files: `python -m stages.write_readme` (`make readme`).

Reads genuine.json, ablation.json and profile.json of metrics/, and dvc.yaml. Run by hand; not a
stage of dvc.yaml.
"""

from pathlib import Path

from pipeline.core.files import replacing
from pipeline.runtime.cli import run_stage
from pipeline.training.review.readme_tables import generated_parts, with_parts


def main() -> None:
    for name, parts in generated_parts(Path()).items():
        path = Path(name)
        before = path.read_text(encoding="utf-8")
        after = with_parts(before, parts)
        with replacing(path) as temporary:
            temporary.write_text(after, encoding="utf-8")
        print(f"write_readme: {name} is {'unchanged' if after == before else 'updated'}")


if __name__ == "__main__":
    run_stage(main)
