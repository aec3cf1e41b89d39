"""serve.untracked: onnxruntime's telemetry is disabled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import ROOT


@pytest.mark.parametrize("module", ["serve.main", "serve.predict"])
def test_no_events_and_no_identifier(module: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=ROOT,
        env=environment | {"TMPDIR": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
