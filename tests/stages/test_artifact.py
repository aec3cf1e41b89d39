"""The released detector as a DVC artifact: tagged and fetched as stages/README.md says."""

import shutil
from pathlib import Path

import pytest

from pipeline.bundle.load import load_bundle
from tests.support.clones import clone_working_tree, run, shell
from tests.support.imports import ROOT
from tests.support.readmes import blocks, readme

RELEASED = ROOT / "data/release"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the documented release commands were run."""
    repo = tmp_path_factory.mktemp("clone") / "repo"
    clone_working_tree(repo)
    run(repo, "git", "add", "-A")
    run(repo, "git", "commit", "-q", "--allow-empty", "-m", "release")
    for command in blocks("stages/README.md", "Recipes and releases")[1].splitlines():
        shell(repo, command)
    return repo


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_release_commands(released: Path) -> None:
    assert contents(released / "release") == contents(RELEASED)


@pytest.mark.parametrize("version", [(), ("--rev", "v0.1.0")])
def test_another_project_gets_it(released: Path, tmp_path: Path, version: tuple[str, ...]) -> None:
    command = "dvc artifacts get URL inswapper-detector"
    assert command in readme("README.md")
    run(tmp_path, *command.replace("URL", str(released)).split(), *version)
    assert contents(tmp_path / "release") == contents(RELEASED)
    assert load_bundle(tmp_path / "release", 1).spec.name


def test_without_a_tag(tmp_path: Path) -> None:
    command = "dvc get URL data/release"
    assert command in readme("stages/README.md")
    run(tmp_path, *command.replace("URL", str(ROOT)).split())
    fetched = contents(tmp_path / "release")
    assert set(fetched) >= {"detector.json", "detector.onnx", "seam_trees.npz"}
