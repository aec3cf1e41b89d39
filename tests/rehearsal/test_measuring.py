"""tests.rehearsal.measuring: bytes of linked files, lines of a log."""

import os
from pathlib import Path

import pytest

from pipeline.runtime.errors import PipelineError
from tests.rehearsal.measuring import counts, file_count, folder_bytes, made_folders

LOG = """Running stage 'crop_faces':
> python -m stages.crop_faces
crop_faces: 3 of 12 frames, 2 reused, 1 s left\rcrop_faces: 12 frames, 5 reused, 11 faces, 44 crops
crop_faces: skipped 1 frames: no_face 1
Updating lock file 'dvc.lock'
"""


def test_links_of_a_file_count_once_in_the_first_folder(tmp_path: Path) -> None:
    for name, size in (("out/a/x", 100), ("out/y", 30), ("cache/z", 7)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    os.link(tmp_path / "out/a/x", tmp_path / "cache/x")
    (tmp_path / "cache/soft").symlink_to(tmp_path / "out/y")
    (tmp_path / "out/copy").write_bytes(bytes(30))
    assert folder_bytes(tmp_path, ["out", "cache", "none"]) == {"out": 160, "cache": 7, "none": 0}
    assert folder_bytes(tmp_path, ["cache", "out"]) == {"cache": 107, "out": 60}
    assert file_count(tmp_path / "out") == 3
    assert file_count(tmp_path / "none") == 0


def test_folders_that_stages_made(tmp_path: Path) -> None:
    for name in ("frames", "own", "release", "audit"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data/README.md").touch()
    assert made_folders(tmp_path) == ["data/audit", "data/frames", ".dvc/cache", ".dvc/tmp/stages"]


def test_numbers_of_a_closing_line() -> None:
    assert counts(LOG, "crop_faces") == {"frames": 12, "reused": 5, "faces": 11, "crops": 44}
    with pytest.raises(PipelineError, match="extract_frames did not say"):
        counts(LOG, "extract_frames")
