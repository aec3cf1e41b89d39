"""pipeline.training.loop.train.Run: the rate of every step, and which weights are kept."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.runtime.params import Params
from pipeline.training.loop import train as loop
from pipeline.training.loop.schedule import Phase
from pipeline.training.loop.train import Run, TrainingInputs, training_params
from pipeline.training.network.checkpoint import load_detector
from pipeline.training.network.hardware import same_bits
from pipeline.views.quality import fit_quality, measure_quality
from tests.support.packed_split import drawn_params, packed_split


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    store = packed_split(tmp_path_factory.mktemp("split"), people=2, frames=1)
    measures = [measure_quality(store.context(face), store.box(face)) for face in range(4)]
    return TrainingInputs(store, store, fit_quality(measures, (0.25, 0.05)))


@pytest.fixture(autouse=True)
def _without_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", "1")
    monkeypatch.setattr(loop, "load_pretrained", lambda *_: "no weights")
    monkeypatch.setattr(loop, "Validator", FixedProducts)


class FixedProducts:
    """A validator with fixed products, the highest in the second epoch."""

    products = (0.2, 0.5, 0.4, 0.3)

    def __init__(self, *_: Any) -> None:
        self._answers = iter(self.products)

    def run(self, _: nn.Module) -> dict[str, float]:
        return {"val_loss": 1.0, "val_auc": 0.5, "val_product": next(self._answers)}


def params(**train_changes: Any) -> Params:
    small = {
        "batch_size": 4,
        "frozen_epochs": 1,
        "last_stages_until_epoch": 2,
        "threads": 1,
        "patience": 9,
        "precision": "32-true",
    }
    model = {
        "backbone": "mobilenetv2_100",
        "weights": "package",
        "frequency": "highpass",
        "views": ["1.1x", "aligned"],
    }
    return drawn_params(train=small | train_changes, model=model)


def tensors(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_running_mean_of_the_best_epoch_is_kept(inputs: TrainingInputs, tmp_path: Path) -> None:
    means, raw = [], []
    with same_bits(threads=1):
        run = Run(params(epochs=3, pairs_per_epoch=4, lr=0.01), inputs, lambda _: None)
        for _ in run.epochs():
            means.append(tensors(run.learner.mean))
            raw.append(tensors(run.learner.detector))
        run.save(tmp_path)
    best, meta = load_detector(tmp_path / "best_model.pt")
    last, last_meta = load_detector(tmp_path / "last_epoch.pt")
    assert (meta.epoch, meta.metric, last_meta.epoch, last_meta.metric) == (2, 0.5, 3, 0.4)
    assert same(tensors(best), means[1])
    assert same(tensors(last), means[2])
    assert not any(same(means[1], other) for other in (means[0], means[2], *raw))


class Recording:
    """A learner that writes down what it is asked to do."""

    def __init__(self, detector: Any, *_: Any, **__: Any) -> None:
        self.detector = self.mean = detector
        self.batches: list[tuple[int, int, bool]] = []
        self.steps: list[tuple[int, float]] = []
        self.phases: list[str] = []

    def start_phase(self, phase: Phase) -> None:
        self.phases.append(phase.name)

    def backward(
        self, batch: dict[str, torch.Tensor], in_step: int, *, is_last: bool
    ) -> dict[str, torch.Tensor]:
        self.batches.append((len(batch["image"]), in_step, is_last))
        return {"total": torch.tensor(float(len(self.batches)))}

    def update(self, step: int, lr: float) -> None:
        self.steps.append((step, lr))


@pytest.fixture
def recorded(inputs: TrainingInputs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Four epochs of 5 pairs: batches of 4, 4 and 2 images, two to a step."""
    monkeypatch.setattr(loop, "Learner", Recording)
    changes = {"lr": 1.0, "full_lr_scale": 0.1, "warmup_epochs": 1.0, "min_lr_frac": 0.1}
    chosen = params(epochs=4, pairs_per_epoch=5, accumulate=2, **changes)
    with same_bits(threads=1):
        run = Run(chosen, inputs, lambda _: None)
        list(run.epochs())
        yield run


def test_the_rate_rises_in_the_warm_up_and_falls_along_half_a_cosine(recorded: Run) -> None:
    def falling(progress: float) -> float:
        return 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2

    # Two steps an epoch, of which those of the first warm up; from the third epoch on everything
    # learns, at a tenth.
    expected = [1 / 3, 2 / 3, 1.0, falling(1 / 5)]
    expected += [0.1 * falling(step / 5) for step in (2, 3, 4, 5)]
    learner: Any = recorded.learner
    assert [step for step, _ in learner.steps] == list(range(8))
    assert [lr for _, lr in learner.steps] == pytest.approx(expected)
    assert [row["lr"] for row in recorded.history] == pytest.approx(expected[1::2])
    assert learner.phases == ["frozen backbone", "last stages", "everything", "everything"]


def test_the_last_short_step_of_an_epoch_is_a_whole_one(recorded: Run) -> None:
    """Images of the batch, batches in its step, whether the step ends with it."""
    learner: Any = recorded.learner
    assert learner.batches == [(4, 2, False), (4, 2, True), (2, 1, True)] * 4
    assert [row["train_total"] for row in recorded.history] == [2.0, 5.0, 8.0, 11.0]


def test_a_run_stops_when_no_epoch_gets_better(inputs: TrainingInputs, monkeypatch: Any) -> None:
    monkeypatch.setattr(loop, "Learner", Recording)
    monkeypatch.setattr(FixedProducts, "products", (0.2, 0.5, 0.5, 0.4, 0.6, 0.9))
    chosen = params(epochs=6, pairs_per_epoch=2, patience=2)
    with same_bits(threads=1):
        run = Run(chosen, inputs, lambda _: None)
        rows = list(run.epochs())
    assert [row["val_product"] for row in rows] == [0.2, 0.5, 0.5, 0.4]


def test_a_checkpoint_follows_from_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "processes" not in training_params(params())
    monkeypatch.setattr(loop, "process_count", lambda: 2)
    assert training_params(params())["processes"] == 2
