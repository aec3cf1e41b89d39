"""`dvc repro` as on another processor: `python -m tests.bench.other_processor [TARGET ...]`.

A clone of the working tree makes everything again while the libraries see an AMD processor without
AVX-512 (other_processor.c). Prints whether the outputs of each stage are those of dvc.lock, and
exits with 1 if they are not. Needs gcc, and Linux on an x86-64 with AVX-512 and `cpuid_fault`.
Takes as long as `make repro`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.clones import clone_working_tree, environment
from tests.support.imports import ROOT
from tests.support.pipeline_files import locked_outputs

SOURCE = Path(__file__).with_suffix(".c")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        library, clone = Path(folder) / "other_processor.so", Path(folder) / "clone"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", SOURCE, "-o", library], check=True)
        clone_working_tree(clone)
        variables = environment() | {"LD_PRELOAD": str(library), "INSWAPPER_STAGE_CACHE": "off"}
        command = ["dvc", "repro", "--force", *sys.argv[1:]]
        subprocess.run(command, cwd=clone, env=variables, check=True)
        here, there = locked_outputs(ROOT), locked_outputs(clone)
    different = sorted(stage for stage in here if here[stage] != there[stage])
    for stage in here:
        print(f"{stage:18} {'DIFFERENT' if stage in different else 'equal'}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
