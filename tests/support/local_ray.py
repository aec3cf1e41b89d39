"""A local Ray: its temporary folder, and the files that stages wrote on it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest

START_S = 60
Files = dict[str, bytes]


@contextmanager
def folder_of_ray() -> Iterator[Path]:
    """Temporary folder for Ray's logs and its sockets, whose paths must be short."""
    if find_spec("ray") is None:
        pytest.skip("needs the extra [scale]")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with patch.dict(os.environ, {"RAY_TMPDIR": str(folder)}):
        yield folder
    shutil.rmtree(folder)


def files_below(folder: str) -> Files:
    return {str(p): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
