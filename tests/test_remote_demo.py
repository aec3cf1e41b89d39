"""make remote-demo on the first stages, with a small data root; all of it on loopback."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.runtime.errors import PipelineError
from tests.clones import clone_working_tree, run
from tests.imports import ROOT
from tests.remote_demo import Dvc, demonstrated, moto_remote
from tests.synthetic import write_data_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

STAGES = ("list_inputs", "extract_frames")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A clone whose data root has two people."""
    repo = tmp_path / "repo"
    clone_working_tree(repo)
    params = repo / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("root: data/sample", "root: data/own"), encoding="utf-8")
    write_data_root(repo / "data/own", people=2, scenes=1)
    return repo


def make_outputs(dvc: Dvc) -> None:
    dvc("repro", *dvc.targets)
    # `git clean` must not take what no stage makes.
    run(dvc.repo, "git", "add", "--force", "data/own")


def contents(repo: Path) -> dict[str, bytes]:
    outputs = [repo / "data/frames", *(repo / "data/manifests").iterdir()]
    files = [path for out in outputs for path in ([out] if out.is_file() else out.rglob("*"))]
    return {str(p.relative_to(repo)): p.read_bytes() for p in files if p.is_file()}


def test_what_is_pulled_is_what_was_pushed_and_nothing_runs_again(repo: Path) -> None:
    with moto_remote() as remote:
        steps = demonstrated(repo, remote, make_outputs, STAGES)
        made, pushed = next(steps), next(steps)
        before = contents(repo)
        assert sorted(pushed.sizes) == sorted(made.sizes) != []
        wiped = next(steps)
        assert not (repo / "data/frames").exists()
        assert not (repo / ".dvc/cache").exists()
        pulled, _ = steps
        assert contents(repo) == before
        assert len(before) > 4
        assert sorted(pulled.sizes) == sorted(wiped.sizes) == sorted(made.sizes)
        assert run(repo, "git", "status", "--porcelain", ".dvc") == ""


def test_a_changed_output_is_no_success(repo: Path) -> None:
    with moto_remote() as remote:
        steps = demonstrated(repo, remote, make_outputs, STAGES)
        for _ in range(4):
            next(steps)
        (repo / "data/manifests/raw.csv").write_text("something else\n")
        with pytest.raises(PipelineError, match="dvc status: expected"):
            next(steps)


def demo(*options: str, **variables: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, without the credentials of whoever runs it."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.remote_demo", *options],
        cwd=ROOT,
        env=own | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        (("--bucket", "b"), {}, "give --endpoint and --bucket together"),
        (("--endpoint", "http://127.0.0.1:1", "--bucket", "b"), {}, "AWS_SECRET_ACCESS_KEY must"),
        (
            ("--endpoint", "http://127.0.0.1:1", "--bucket", "b"),
            {"AWS_SECRET_ACCESS_KEY": "s"},
            "remote-demo: AWS_ACCESS_KEY_ID must be set in the environment",
        ),
    ],
)
def test_what_is_refused_takes_one_line(
    options: tuple[str, ...], variables: dict[str, str], expected: str
) -> None:
    process = demo(*options, **variables)
    output, _ = process.communicate(timeout=60)
    assert expected in output
    assert (process.returncode, output.count("\n")) == (2, 1)


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    process = demo(TMPDIR=str(tmp_path))
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/repo/.dvc/config.local")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []
