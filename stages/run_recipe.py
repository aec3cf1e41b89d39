"""Run a recipe as an experiment: `python -m stages.run_recipe RECIPE [options of dvc exp run]`.

RECIPE is a partial params file of pipeline/training/recipes/. It is checked, then given to
`dvc exp run` as `-S` overrides, which come first: `-S` options after it win. Run by hand
(`make production`); no stage of dvc.yaml.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.training.review.recipes import read_overrides


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.run_recipe", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--print", action="store_true", help="only print the command")
    args, options = parser.parse_known_args()
    command = ["dvc", "exp", "run", "-n", args.recipe.stem.replace("_", "-")]
    for override in read_overrides(args.recipe, load_params()):
        command += ["-S", override]
    command += options
    print(shlex.join(command), flush=True)
    if not args.print:
        sys.exit(subprocess.run([sys.executable, "-m", *command], check=False).returncode)


if __name__ == "__main__":
    run_stage(main)
