"""Adding one video to a data root, with `dvc repro` in a temporary clone."""

import re
import shutil
from pathlib import Path

import pytest

from tests.stages.test_dvc_cli import clone_working_tree, run
from tests.support.synthetic import draw_clip, write_clip, write_data_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


def test_only_the_new_video_is_processed_and_the_bytes_equal_a_cold_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INSWAPPER_STAGE_CACHE", raising=False)
    repo = tmp_path / "repo"
    clone_working_tree(repo)
    params = repo / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("root: data/sample", "root: data/own"), encoding="utf-8")
    write_data_root(repo / "data/own", people=2, scenes=1)
    first = run(repo, "dvc", "repro", "crop_faces")
    frames = re.search(r"crop_faces: (\d+) frames, 0 reused", first)
    assert frames, first

    write_clip(repo / "data/own/inswapper/original_videos/p7.mp4", draw_clip(7, scenes=1))
    second = run(repo, "dvc", "repro", "crop_faces")
    assert "extract_frames: 6 videos, 5 reused" in second
    assert re.search(rf"crop_faces: \d+ frames, {frames[1]} reused", second)
    assert "up to date" in run(repo, "dvc", "repro", "crop_faces")

    warm = (repo / "dvc.lock").read_text(encoding="utf-8")
    monkeypatch.setenv("INSWAPPER_STAGE_CACHE", "off")
    command = ("dvc", "repro", "--force", "--single-item", "--no-run-cache")
    cold = run(repo, *command, "extract_frames") + run(repo, *command, "crop_faces")
    assert "6 videos, 0 reused" in cold
    assert (repo / "dvc.lock").read_text(encoding="utf-8") == warm
