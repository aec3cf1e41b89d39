"""Training by several processes takes the same steps as one process with the joined batch."""

import hashlib
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.params import load_params
from pipeline.training.loop.parallel import (
    BatchShare,
    from_first,
    process_count,
    rank,
    with_shared_statistics,
)
from pipeline.training.loop.train import training_params
from pipeline.training.network.model import create_backbone
from pipeline.training.pairs.sampler import Item, PairSampler
from tests.support.packed_split import PREPROCESS
from tests.support.service_process import free_port
from tests.support.torchrun_folder import started, train_folder, write_params
from tests.training.test_sampler import faces, sampler

States = list[tuple[dict[str, Any], dict[str, torch.Tensor]]]


def parts_of(batches: PairSampler, processes: int, epoch: int) -> list[list[list[Item]]]:
    """The batches of each process in an epoch."""
    batches.set_epoch(epoch)
    return [list(BatchShare(batches, number, processes)) for number in range(processes)]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_split_every_batch_without_overlap(processes: int) -> None:
    whole = sampler(faces(), pairs=34, batch_size=4 * processes)
    parts = parts_of(whole, processes, epoch=2)
    assert {len(part) for part in parts} == {len(whole)}
    joined = [[item for part in batch for item in part] for batch in zip(*parts, strict=True)]
    whole.set_epoch(2)
    assert joined == list(whole)
    assert {len(batch) for part in parts for batch in part[:-1]} == {4}
    last = [len(part[-1]) for part in parts]
    assert max(last) - min(last) <= 2
    for items in (batch for part in parts for batch in part):
        assert [item.pair for item in items[::2]] == [item.pair for item in items[1::2]]


def test_each_epoch_draws_different_pairs() -> None:
    whole = sampler(faces(), pairs=8, batch_size=4)
    assert parts_of(whole, 2, epoch=1) == parts_of(whole, 2, epoch=1)
    assert parts_of(whole, 2, epoch=1)[1] != parts_of(whole, 2, epoch=2)[1]


def test_a_last_batch_without_a_pair_for_each_process_is_refused() -> None:
    whole = sampler(faces(), pairs=9, batch_size=8)
    with pytest.raises(ParamsError, match=r"pairs_per_epoch.*2 processes \(got 1\).*multiple of 2"):
        BatchShare(whole, 0, 2)


def test_the_launcher_sets_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without torchrun, stray variables of a cluster's shell have no effect.
    for name, value in (("WORLD_SIZE", "6"), ("RANK", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    lines: list[str] = []
    assert (process_count(), rank()) == (1, 0)
    assert "processes" not in training_params(load_params())
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert (process_count(), rank()) == (6, 4)
    assert training_params(load_params())["processes"] == 6
    from_first(lines.append)("not the first")
    monkeypatch.setenv("RANK", "0")
    from_first(lines.append)("the first")
    assert lines == ["the first"]


def states(folder: Path, processes: int) -> list[States]:
    """Row and weights of every epoch, per process."""
    target = folder / f"states{processes}"
    target.mkdir()
    with started(folder, processes, "tests.support.epoch_states", str(target)) as run:
        log = run.communicate()[0]
    assert run.returncode == 0, log
    return [torch.load(file, weights_only=True) for file in sorted(target.iterdir())]


def backbone_file(path: Path) -> str:
    """Write random weights to a file, which makes the run use all phases."""
    torch.manual_seed(5)
    torch.save(create_backbone("convnext_atto", PREPROCESS.size_px).state_dict(), path)
    return str(path)


# Steps of every phase use the full learning rate.
STEADY = {"min_lr_frac": 1.0, "full_lr_scale": 1.0, "warmup_epochs": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        # One step per epoch.
        {"epochs": 6, "pairs_per_epoch": 4, "frozen_epochs": 2, "last_stages_until_epoch": 4},
        # Two steps per epoch: two full batches, then one of three pairs (two for one process).
        {
            "epochs": 3,
            "pairs_per_epoch": 11,
            "accumulate": 2,
            "frozen_epochs": 1,
            "last_stages_until_epoch": 2,
        },
    ],
    ids=["phases", "accumulate"],
)
def test_two_processes_take_the_steps_of_one(tmp_path: Path, recipe: dict[str, Any]) -> None:
    model = {
        "dropout": 0.0,
        "weights": "file",
        "weights_file": backbone_file(tmp_path / "backbone.pth"),
    }
    train_folder(tmp_path, model=model, **recipe, **STEADY, batch_size=8)
    (one,) = states(tmp_path, 1)
    write_params(tmp_path, model=model, **recipe, **STEADY, batch_size=4)
    first, second = states(tmp_path, 2)
    assert len(one) == len(first) == len(second) == recipe["epochs"]
    losses, weights = 0.0, 0.0
    for (row, single), (row_2, double), (other_row, other) in zip(one, first, second, strict=True):
        assert other_row == row_2
        assert all(torch.equal(double[name], other[name]) for name in double)
        assert row["phase"] == row_2["phase"]
        numbers = [name for name, value in row.items() if isinstance(value, float)]
        losses = max(losses, *(abs(row[name] - row_2[name]) for name in numbers))
        weights = max(weights, *(float((single[n] - double[n]).abs().max()) for n in single))
    print(f"largest difference: losses {losses:.2g}, weights {weights:.2g}")
    assert losses < 1e-5
    # AdamW divides by the gradient's size, which enlarges last bits where it is nearly 0.
    assert weights < 1e-4
    # For comparison, the size of one step of the weights.
    moved = [max(float((a[n] - b[n]).abs().max()) for n in a) for (_, a), (_, b) in pairwise(one)]
    assert min(moved) > 1e-4


OUTPUTS = ("data/checkpoints", "metrics/train")


def files(folder: Path) -> dict[str, str]:
    """sha256 of every file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def train(folder: Path, processes: int) -> tuple[int, str]:
    """Run stage `train` to its end; return its exit status and output."""
    with started(folder, processes, "stages.train") as run:
        log = run.communicate()[0]
    return run.returncode, log


def read_until(run: subprocess.Popen[str], text: str) -> list[str]:
    """Read a run's output up to a line with `text`; fail if there is none."""
    assert run.stdout is not None
    lines: list[str] = []
    for line in run.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def kill_rank(run: subprocess.Popen[str], number: int) -> None:
    children = psutil.Process(run.pid).children()
    (one,) = (child for child in children if child.environ().get("RANK") == str(number))
    one.kill()


@pytest.mark.slow
def test_only_the_first_of_two_machines_writes(tmp_path: Path) -> None:
    here, there = train_folder(tmp_path / "here", epochs=2), tmp_path / "there"
    shutil.copytree(here, there)
    before = files(there)
    options = ("--nnodes=2", "--master_addr=127.0.0.1", f"--master_port={free_port()}")
    with (
        started(here, 1, "stages.train", options=(*options, "--node_rank=0")) as first,
        started(there, 1, "stages.train", options=(*options, "--node_rank=1")) as second,
    ):
        log, other_log = first.communicate()[0], second.communicate()[0]
    assert (first.returncode, second.returncode) == (0, 0), log + other_log
    assert files(there) == before
    assert "train:" not in other_log
    written = {name.rpartition("/")[0] for name in files(here).keys() - before.keys()}
    assert {"data/checkpoints", "metrics/train"} <= written
    assert log.count("train: epoch  1/2") == 1
    assert "train: 2 processes, 4 images per process in a batch" in log


@pytest.mark.slow
def test_a_run_resumes_after_a_process_was_killed(tmp_path: Path) -> None:
    folder = train_folder(tmp_path, epochs=6)
    status, log = train(folder, 2)
    assert status == 0, log
    uninterrupted = [files(folder / output) for output in OUTPUTS]
    for output in OUTPUTS:
        shutil.rmtree(folder / output)

    with started(folder, 2, "stages.train") as run:
        read_until(run, "train: epoch  3/6")
        kill_rank(run, 1)
        rest = run.communicate()[0]
    assert run.returncode not in (0, None)
    assert "train: best is" not in rest
    assert not (folder / "data/checkpoints").exists()
    assert len(list((folder / ".resume").iterdir())) == 1

    # A different number of processes is a different run.
    with started(folder, 1, "stages.train") as run:
        lines = read_until(run, "restarting")
    assert not any("resumed" in line for line in lines)

    status, log = train(folder, 2)
    assert status == 0, log
    assert "train: resumed after epoch" in log
    assert [files(folder / output) for output in OUTPUTS] == uninterrupted


@pytest.mark.parametrize(
    ("processes", "device", "shared"),
    [(1, "cpu", False), (2, "cpu", False), (1, "cuda", False), (2, "cuda", True)],
)
def test_batch_statistics_are_shared_by_several_gpus_alone(
    processes: int, device: str, shared: bool
) -> None:
    net: Any = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    fabric: Any = SimpleNamespace(world_size=processes, device=torch.device(device))
    found: Any = with_shared_statistics(net, fabric)
    assert isinstance(found[0], torch.nn.SyncBatchNorm) == shared
