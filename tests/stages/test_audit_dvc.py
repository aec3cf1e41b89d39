"""`dvc repro` of a data root with one person under three names, in a temporary clone."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.core.audit import read_audit
from tests.bench.growth import free_box
from tests.stages.test_dvc_cli import clone_working_tree, run
from tests.support.synthetic import write_data_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

# One of four people under three names: the three cannot all be in one split of these sizes.
FRACS = {"val_frac": 0.4, "test_frac": 0.4}
ALIASES = ("p0-again", "p0-too")


def own_repository(tmp_path: Path) -> Path:
    """A clone whose data root is data/own."""
    repo = tmp_path / "repo"
    clone_working_tree(repo)
    params = repo / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("root: data/sample", "root: data/own")
    for name, frac in FRACS.items():
        text = re.sub(rf"(?m)^(  {name}:) \S+", rf"\1 {frac}", text)
    params.write_text(text, encoding="utf-8")
    return repo


def test_a_leak_stops_the_run_until_its_lines_are_added(tmp_path: Path) -> None:
    repo = own_repository(tmp_path)
    videos = repo / "data/own/inswapper"
    write_data_root(repo / "data/own", people=3, stills=False, scenes=1)
    for number, alias in enumerate(ALIASES):
        for folder in ("original_videos", "inswapper"):
            content = (videos / folder / "p0.mp4").read_bytes()
            (videos / folder / f"{alias}.mp4").write_bytes(content + free_box(number))

    failed = run(repo, "dvc", "repro", "pack_zarr@train", ok=False)
    assert "failed to reproduce 'audit_splits'" in failed
    assert "Traceback" not in failed
    assert "Running stage 'pack_zarr@train'" not in failed
    # With --ignore-errors DVC goes on after a failed stage, and exits with 0.
    ignored = run(repo, "dvc", "repro", "--ignore-errors", "pack_zarr@train")
    assert "Running stage 'pack_zarr@train'" not in ignored
    assert not (repo / "data/zarr/train.zarr").exists()

    identities = videos / "identities.csv"
    lines = re.findall(r"(?m)^  (\S+,\S+)$", failed)
    assert lines == [f"{alias},p0" for alias in ALIASES]
    assert f"Add these lines to {identities.relative_to(repo)} (video_id,identity_id;" in failed
    identities.write_text("\n".join(["video_id,identity_id", *lines]) + "\n", encoding="utf-8")
    passed = run(repo, "dvc", "repro", "pack_zarr@train")
    assert "audit_splits: no leaks between splits" in passed
    assert (repo / "data/zarr/train.zarr").exists()
    assert not (repo / "data/audit").exists()
    report = read_audit(repo / "metrics/audit.json")
    assert set(report.across.model_dump().values()) == {0}

    again = run(repo, "dvc", "repro", "--force", "--single-item", "audit_splits")
    assert "audit_splits: no leaks between splits" in again
    assert "up to date" in run(repo, "dvc", "repro", "pack_zarr@train")
