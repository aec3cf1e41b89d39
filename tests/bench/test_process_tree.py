"""tests.bench.process_tree: memory of a process and its children."""

import subprocess
import sys

import pytest

from tests.bench.process_tree import memory_bytes


@pytest.mark.parametrize("proportional", [False, True])
def test_memory_includes_children(proportional: bool) -> None:
    hold = "import sys; held = bytearray(80 * 2**20); print('held', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert memory_bytes(process.pid, proportional=proportional) > 80 * 2**20
    process.communicate()
    assert memory_bytes(process.pid, proportional=proportional) == 0
