"""pipeline.training.loop.train: tiny runs have reproducible bytes, interrupted or not."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from pipeline.runtime.errors import TrainingError, WorkerDiedError
from pipeline.runtime.params import Params
from pipeline.training.loop.resume import ResumeFile
from pipeline.training.loop.train import Log, Run, TrainingInputs, train
from pipeline.training.network.checkpoint import load_detector
from pipeline.training.network.hardware import same_bits
from pipeline.views.quality import fit_quality, measure_quality
from tests.support.packed_split import PREPROCESS, drawn_params, packed_split
from tests.training.test_weights import detector

RUN = "0" * 64
BACKBONE = "test_efficientnet"  # timm's smallest kind: 0.3 million weights


@dataclass(frozen=True)
class Outcome:
    """sha256 of every file that a run wrote, its log and its history."""

    folder: Path = field(compare=False)
    digests: dict[str, str]
    log: list[str]
    history: list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSWAPPER_WORKERS", "1")
        yield


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    root = tmp_path_factory.mktemp("splits")
    learn = packed_split(root / "train", people=3, frames=2)
    val = packed_split(root / "val", people=2, frames=1, first_person=10)
    measures = [measure_quality(learn.context(face), learn.box(face)) for face in range(4)]
    return TrainingInputs(learn, val, fit_quality(measures, (0.25, 0.05)))


def tiny_params(weights: Path, **train_changes: Any) -> Params:
    """Four epochs of one batch at 64 px; the backbone's weights come from a file."""
    small = {
        "epochs": 4,
        "pairs_per_epoch": 4,
        "batch_size": 4,
        "frozen_epochs": 1,
        "last_stages_until_epoch": 2,
        "threads": 1,
        "patience": 9,
        "val_faces": 4,
        "precision": "32-true",
    }
    model = {
        "backbone": BACKBONE,
        "weights": "file",
        "weights_file": str(weights),
        "frequency": "highpass",
        "views": ["1.1x", "1.5x", "2x", "aligned"],
        "rgb_dim": 32,
        "frequency_dim": 16,
        "hidden_dim": 16,
    }
    return drawn_params(train=small | train_changes, model=model)


def run(
    params: Params, inputs: TrainingInputs, folder: Path, on_line: Log | None = None
) -> Outcome:
    log: list[str] = []
    history = train(
        params,
        inputs,
        checkpoints=folder / "checkpoints",
        live_dir=folder / "live",
        resume=ResumeFile(RUN, folder.parent / "resume"),
        log=on_line or log.append,
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    return Outcome(folder, digests, log, history)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in a file, which makes the run use the frozen phase."""
    path = tmp_path_factory.mktemp("weights") / "backbone.pth"
    torch.save(detector(5, BACKBONE).backbone.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def first(
    inputs: TrainingInputs, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    folder = tmp_path_factory.mktemp("first") / "out"
    return run(tiny_params(weights), inputs, folder)


def test_the_same_run_gives_the_same_bytes(
    first: Outcome, inputs: TrainingInputs, weights: Path, tmp_path: Path
) -> None:
    again = run(tiny_params(weights), inputs, tmp_path / "out")
    assert again == first
    assert {"checkpoints/best_model.pt", "checkpoints/last_epoch.pt"} < first.digests.keys()


def test_a_resumed_run_gives_the_same_bytes(
    first: Outcome, inputs: TrainingInputs, weights: Path, tmp_path: Path
) -> None:
    params = tiny_params(weights)

    def interrupt(line: str) -> None:
        if line.startswith("epoch  2/4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(params, inputs, tmp_path / "out", on_line=interrupt)
    assert list((tmp_path / "resume").iterdir())
    assert not (tmp_path / "out/checkpoints").exists()
    resumed = run(params, inputs, tmp_path / "out")
    assert resumed.digests == first.digests
    assert any(line.startswith("resumed after epoch 2") for line in resumed.log)
    assert not list((tmp_path / "resume").iterdir())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_loader_processes_change_no_byte(
    first: Outcome,
    inputs: TrainingInputs,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", "2")
    assert run(tiny_params(weights), inputs, tmp_path / "out").digests == first.digests


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_killed_loader_process_is_one_clear_line_and_the_run_resumes(
    first: Outcome,
    inputs: TrainingInputs,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by the system when memory runs out."""
    monkeypatch.setenv("INSWAPPER_WORKERS", "2")

    def kill_loader(line: str) -> None:
        if line.startswith("epoch  2/4"):
            psutil.Process().children()[-1].kill()

    with pytest.raises(WorkerDiedError, match=r"memory ran out \(DataLoader worker.*WORKERS=1"):
        run(tiny_params(weights), inputs, tmp_path / "out", on_line=kill_loader)
    monkeypatch.setenv("INSWAPPER_WORKERS", "1")
    assert run(tiny_params(weights), inputs, tmp_path / "out").digests == first.digests


def test_phases_and_history(first: Outcome) -> None:
    assert [row["phase"] for row in first.history] == [
        "frozen backbone",
        "last stages",
        "everything",
        "everything",
    ]
    lines = [line for line in first.log if line.startswith("epoch")]
    assert [line.split("  ")[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert "frozen backbone" in lines[0]
    assert all(0 <= row["val_auc"] <= 1 for row in first.history)


def test_the_best_epoch_is_saved_with_its_metadata(first: Outcome, inputs: TrainingInputs) -> None:
    best = max(first.history, key=lambda row: (row["val_product"], -row["val_loss"]))
    _, meta = load_detector(first.folder / "checkpoints/best_model.pt")
    _, last = load_detector(first.folder / "checkpoints/last_epoch.pt")
    assert (meta.epoch, meta.metric) == (best["epoch"], best["val_product"])
    assert meta.preprocess == replace(PREPROCESS, aligned=True)
    assert meta.quality == inputs.quality.to_dict()
    assert last.epoch == 4
    with (first.folder / "checkpoints/history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[1]["val_loss"]) == pytest.approx(first.history[1]["val_loss"], rel=1e-5)


def test_every_epoch_has_its_threshold_sweep(first: Outcome) -> None:
    rows = json.loads((first.folder / "live/plots/custom/threshold_sweep.json").read_text())
    assert [row["epoch"] for row in rows] == [epoch for epoch in range(1, 5) for _ in range(19)]
    assert [row["threshold"] for row in rows[:19]] == [n / 20 for n in range(1, 20)]
    for row in rows:
        assert row["product"] == pytest.approx(row["recall"] * (1 - row["fpr"]), abs=1e-5)
    assert "val_sweep" not in (first.folder / "checkpoints/history.csv").read_text()


def test_plots_contain_steps_and_values_only(first: Outcome) -> None:
    metrics = first.folder / "live/plots/metrics"
    plots = sorted(metrics.rglob("*.tsv"))
    names = {str(path.relative_to(metrics)) for path in plots}
    assert {"train/total.tsv", "val/product.tsv", "val/auc.tsv", "lr.tsv"} <= names
    for path in plots:
        header, *lines = path.read_text().splitlines()
        assert header == f"step\t{path.stem}"
        assert [line.split("\t")[0] for line in lines] == ["1", "2", "3", "4"]


def test_patience_ends_a_run_early(inputs: TrainingInputs, weights: Path, tmp_path: Path) -> None:
    params = tiny_params(weights, epochs=9, patience=1, lr=1e-9, ema_decay=0.0)
    outcome = run(params, inputs, tmp_path / "out")
    assert len(outcome.history) < 9
    assert outcome.log[-1] == "no improvement in 1 epochs: stopped early"


def test_random_weights_skip_the_frozen_phase(
    inputs: TrainingInputs, weights: Path, tmp_path: Path
) -> None:
    params = tiny_params(weights, epochs=1)
    random = params.model_copy(
        update={"model": params.model.model_copy(update={"weights": "none", "weights_file": ""})}
    )
    outcome = run(random, inputs, tmp_path / "out")
    assert outcome.history[0]["phase"] == "everything, from random weights"
    assert any("no frozen phase" in line for line in outcome.log)


def test_a_diverging_run_fails(inputs: TrainingInputs, weights: Path, tmp_path: Path) -> None:
    params = tiny_params(weights, lr=1e30, clip_norm=1e30, weight_decay=0.0, frozen_epochs=0)
    with pytest.raises(TrainingError, match=r"epoch \d: a loss is not finite"):
        run(params, inputs, tmp_path / "out")


def test_accumulated_batches_make_one_step(inputs: TrainingInputs, weights: Path) -> None:
    with same_bits(threads=1):
        steps = Run(tiny_params(weights, epochs=2, accumulate=2), inputs, lambda _: None)
        assert len(list(steps.epochs())) == 2
    moments = next(iter(steps.state()["optimizer"]["state"].values()))
    assert int(moments["step"]) == 2  # two batches per epoch, one step


def test_bfloat16_trains_too(inputs: TrainingInputs, weights: Path, tmp_path: Path) -> None:
    outcome = run(tiny_params(weights, epochs=1, precision="bf16-mixed"), inputs, tmp_path / "out")
    assert 0 < outcome.history[0]["train_total"] < 10


@pytest.mark.slow
def test_the_production_recipe_takes_a_few_steps(inputs: TrainingInputs, tmp_path: Path) -> None:
    params = tiny_params(Path(), epochs=2, accumulate=2, focal_gamma=2.0)
    production = params.model.model_copy(
        update={
            "backbone": "convnext_tiny",
            "weights": "none",
            "weights_file": "",
            "rgb_dim": 768,
            "frequency_dim": 256,
            "hidden_dim": 512,
        }
    )
    outcome = run(params.model_copy(update={"model": production}), inputs, tmp_path / "out")
    assert len(outcome.history) == 2
    model, _ = load_detector(tmp_path / "out/checkpoints/best_model.pt")
    assert sum(parameter.numel() for parameter in model.parameters()) > 28e6
