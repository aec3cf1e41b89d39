"""Runs of a stage as by DVC: in a separate process, in any folder."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.imports import ROOT


def run_stage(
    folder: Path, name: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python OPTIONS -m stages.NAME` with the folder as working directory."""
    return subprocess.run(
        [sys.executable, *options, "-m", f"stages.{name}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
