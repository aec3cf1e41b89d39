"""The documented DVC commands, run in a temporary clone with small parameters."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.params import load_params
from tests.support.clones import clone_working_tree, environment, run, shell
from tests.support.readmes import commands

STAGES = [
    "data/dvc.yaml:build_sample",
    "list_inputs",
    "extract_frames",
    "crop_faces",
    "split_groups",
    "audit_splits",
    "pack_zarr@train",
    "pack_zarr@val",
    "pack_zarr@test",
    "train",
    "train_seam",
    "calibrate",
    "evaluate",
    "export",
]

# Small enough for a test: fewer people and frames, two epochs of a few pairs, random weights.
SMALL = {
    "max_people": 8,
    "scenes_min": 2,
    "scenes_max": 2,
    "scene_s": 0.5,
    "stills_per_person": 1,
    "frames_per_scene": 2,
    "epochs": 2,
    "pairs_per_epoch": 8,
    "pairs": 12,
    "trees": 10,
    "backbone": "test_efficientnet",
    "ladder_faces": 4,
    "bootstrap": 100,
    "weights": "none",
    "golden_crops": 2,
    "int8": "false",
    "size_px": 64,
}

EXPERIMENTS = "Experiments and review"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


def shrink_params(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for key, value in SMALL.items():
        text, changes = re.subn(rf"(?m)^(  {key}:).*$", rf"\1 {value}", text)
        assert changes == 1, f"{key} stands {changes} times in params.yaml"
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the small pipeline was reproduced and committed once."""
    target = tmp_path_factory.mktemp("clone") / "repo"
    clone_working_tree(target)
    shrink_params(target / "params.yaml")
    run(target, "dvc", "repro", timeout_s=1800)
    run(target, "git", "add", "-A")
    run(target, "git", "commit", "-qm", "small recipe")
    (target / ".venv").symlink_to(sys.prefix)
    return target


def test_every_stage_ran_and_nothing_large_reached_git(repo: Path) -> None:
    tracked = run(repo, "git", "ls-files").splitlines()
    # The released bundle is the only exception; it contains no image.
    ours = [name for name in tracked if not name.startswith("data/release/")]
    assert not [name for name in ours if name.endswith((".png", ".mp4", ".pt", ".onnx", ".mkv"))]
    assert json.loads((repo / "metrics/test.json").read_text(encoding="utf-8"))
    assert (repo / "data/export/detector.onnx").is_file()


def test_second_repro_skips_every_stage(repo: Path) -> None:
    output = run(repo, "dvc", "repro")
    for stage in STAGES:
        assert f"Stage '{stage}' didn't change, skipping" in output
    assert run(repo, "git", "status", "--porcelain") == ""
    assert "up to date" in run(repo, "dvc", "status")


def test_unknown_and_mistyped_params_are_rejected_by_name(repo: Path) -> None:
    assert "nope" in run(repo, "dvc", "exp", "run", "-S", "train.nope=1", ok=False)
    added = run(repo, "dvc", "exp", "run", "-S", "+train.nope=1", ok=False)
    assert "params.yaml: train.nope: Extra inputs are not permitted (got 1)" in added
    typed = run(repo, "dvc", "exp", "run", "-S", "train.lr=abc", ok=False)
    assert "params.yaml: train.lr: Input should be a valid number (got 'abc')" in typed
    assert "Traceback" not in added + typed
    run(repo, "git", "checkout", "-q", ".")
    run(repo, "dvc", "checkout", "-q")


def test_experiment_with_an_exponent_float(repo: Path) -> None:
    # Only the first stage; the README's experiments run all stages.
    run(repo, "dvc", "exp", "run", "-n", "tiny-lr", "-S", "train.lr=1e-05", "list_inputs")
    assert load_params(repo / "params.yaml").train.lr == 1e-05
    diff = run(repo, "dvc", "params", "diff", "--targets", "params.yaml")
    assert "train.lr" in diff
    assert "metrics/test.json" in run(repo, "dvc", "metrics", "diff", "--all")
    assert "tiny-lr" in run(repo, "dvc", "exp", "show", "--only-changed", "--no-pager", "--csv")
    run(repo, "git", "checkout", "-q", ".")
    run(repo, "dvc", "checkout", "-q")


def wait_for_queue(repo: Path, name: str) -> None:
    for _ in range(200):
        status = run(repo, "dvc", "queue", "status")
        if not re.search(rf"{name}\s.*(Queued|Running)", status):
            break
        time.sleep(3)
    assert re.search(rf"{name}\s.*Success", status), run(repo, "dvc", "queue", "logs", name)


def test_the_readmes_experiments(repo: Path) -> None:
    """Run one by one as written, waiting for the queue."""
    one, queued, start, show, apply, branch = commands("README.md", EXPERIMENTS)
    shell(repo, one)
    assert load_params(repo / "params.yaml").train.lr == 0.0003
    run(repo, "git", "checkout", "-q", ".")
    shell(repo, queued)
    shell(repo, start)
    wait_for_queue(repo, "seed2")
    assert run(repo, "git", "status", "--porcelain") == ""
    shown = shell(repo, f"COLUMNS=200 {show} --no-pager")
    for name in ("[lower-lr]", "[seed2]", "test.json:auc", "train.lr", "train.seed"):
        assert name in shown, shown
    assert "pipeline/" not in shown
    shell(repo, apply)
    assert load_params(repo / "params.yaml").train.lr == 0.0003
    shell(repo, branch)
    assert "try-lower-lr" in run(repo, "git", "branch")


def test_the_readmes_review(repo: Path) -> None:
    """Compared with the branch main after an experiment was applied."""
    run(repo, "git", "checkout", "-q", "-B", "main")
    params, metrics, diff, show, report = commands("README.md", EXPERIMENTS, block=1)
    assert "train.lr" in shell(repo, params)
    assert "metrics/test.json" in shell(repo, f"{metrics} --all")
    for command in (diff, show):
        shell(repo, command)
        assert "<title>" in (repo / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "train.lr" in shell(repo, report)
    run(repo, "git", "checkout", "-q", ".")
    run(repo, "dvc", "checkout", "-q")


def test_the_readmes_commands_for_own_data(repo: Path) -> None:
    audit, inspect = commands("data/README.md", "Check the data before training")
    assert "Stage 'audit_splits' didn't change, skipping" in shell(repo, audit)
    shell(repo, inspect)
    assert (repo / "data/inspection/crops.html").stat().st_size > 100_000
    assert run(repo, "git", "status", "--porcelain") == ""
    assert "up to date" in run(repo, "dvc", "status")
    shutil.copytree(repo / "data/sample", repo / "data", dirs_exist_ok=True)
    audited, whole = (
        command for command in commands("README.md", "Your own data") if command.startswith("dvc")
    )
    assert {audited, whole} <= set(commands("data/README.md", "Your own data"))
    assert audited.removesuffix(" audit_splits") == whole
    # Only up to the stage that reads the root; the others already ran on the same data.
    assert "Running stage 'list_inputs'" in shell(repo, f"{whole} list_inputs")
    assert load_params(repo / "params.yaml").data.root == "data"
    planned = run(repo, "dvc", "repro", "--dry")
    assert set(re.findall(r"[Ss]tage '(\S+)'", planned)) == set(STAGES[1:])
    for name in ("inswapper", "images"):
        shutil.rmtree(repo / "data" / name)
    (repo / "data/images.csv").unlink()
    run(repo, "git", "checkout", "-q", ".")
    run(repo, "dvc", "checkout", "-q")


def drawn_plots(repo: Path, *command: str) -> list[str]:
    """Run `dvc plots COMMAND`; return the part of its page for each plot of dvc.yaml."""
    shutil.rmtree(repo / "dvc_plots", ignore_errors=True)
    run(repo, "dvc", "plots", *command)
    _, *drawn = (repo / "dvc_plots/index.html").read_text(encoding="utf-8").split('"$schema"')
    entries = yaml.safe_load((repo / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    declared = [plot for entry in entries for plot in entry.values()]
    assert len(drawn) == len(declared)
    for plot, part in zip(declared, drawn, strict=True):
        assert all(plot[text] in part for text in ("title", "x_label", "y_label"))
    return drawn


def test_a_clone_without_cache_draws_every_plot_and_runs_experiments(
    repo: Path, tmp_path: Path
) -> None:
    """Files in DVC's cache would be left out of the page.

    A folder in DVC's cache, such as the images of mistakes, would leave no page at all and would
    fail experiments after their work.
    """
    fresh = tmp_path / "fresh"
    run(tmp_path, "git", "clone", "-q", str(repo), str(fresh))
    run(fresh, "git", "commit", "-q", "--allow-empty", "-m", "same plots")
    assert not (fresh / ".dvc/cache").exists()
    assert all('"rev": "workspace"' in part for part in drawn_plots(fresh, "show"))
    for part in drawn_plots(fresh, "diff", "HEAD~1"):
        assert '"rev": "workspace"' in part
        assert '"rev": "HEAD~1"' in part
    shutil.rmtree(fresh / "dvc_plots")
    (fresh / ".venv").symlink_to(sys.prefix)
    run(fresh, "dvc", "exp", "run", "-n", "cheap", "-S", "train.lr=0.0003", "list_inputs")
    assert "cheap" in run(fresh, "dvc", "exp", "list")
    assert list((repo / "data/reports/mistakes").iterdir())


def test_push_wipe_pull(repo: Path, tmp_path: Path) -> None:
    run(repo, "dvc", "remote", "add", "--local", "-f", "-d", "store", str(tmp_path / "store"))
    run(repo, "dvc", "push")
    shutil.rmtree(repo / ".dvc/cache")
    run(repo, "git", "clean", "-qfdX", "data", "metrics", "plots")
    assert not (repo / "data/zarr/train.zarr").exists()
    run(repo, "dvc", "pull")
    output = run(repo, "dvc", "repro")
    assert all(f"Stage '{stage}' didn't change, skipping" in output for stage in STAGES)


def test_interrupted_training_resumes(repo: Path) -> None:
    """After Ctrl-C in the first epoch, the next repro gives the result of an uninterrupted run."""
    params = repo / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(re.sub(r"(?m)^(  epochs:).*$", r"\1 5", text), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=repo,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(r"epoch\s+1\b", line):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert list((repo / ".resume").glob("*.pt"))
    resumed = run(repo, "dvc", "repro", "train")
    assert "resum" in resumed
    digest = (repo / "data/checkpoints/best_model.pt").read_bytes()
    run(repo, "dvc", "repro", "--force", "--single-item", "--no-run-cache", "train")
    assert (repo / "data/checkpoints/best_model.pt").read_bytes() == digest
    assert not list((repo / ".resume").glob("*.pt"))
    run(repo, "git", "checkout", "-q", ".")
    run(repo, "dvc", "checkout", "-q")


def test_one_broken_video_is_a_skipped_row(repo: Path) -> None:
    """In a data root with one file that is not a video, only that file is skipped."""
    root = repo / "data" / "own"
    shutil.copytree(repo / "data/sample", root)
    (root / "inswapper/original_videos/broken.mp4").write_bytes(b"this is no video" * 100)
    params = repo / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("root: data/sample", "root: data/own"), encoding="utf-8")
    run(repo, "dvc", "repro", "extract_frames")
    skipped = (repo / "data/manifests/skipped_videos.csv").read_text(encoding="utf-8")
    assert "original_videos/broken.mp4" in skipped
    assert "decode_error" in skipped
    run(repo, "git", "checkout", "-q", ".")
