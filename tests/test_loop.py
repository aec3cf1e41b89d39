"""pipeline.training.loop: a tiny run is the same bytes each time, interrupted or not."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.params import Params, load_params
from pipeline.quality import fit_quality, measure_quality
from pipeline.training.checkpoint import load_detector
from pipeline.training.loop import Inputs, train
from pipeline.training.resume import ResumeFile
from tests.packed_split import PREPROCESS, packed_split

RUN = "0" * 64


@dataclass(frozen=True)
class Outcome:
    """Bytes of every file that a run wrote, its log and its history."""

    digests: dict[str, str]
    log: list[str]
    history: list[dict[str, Any]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    root = tmp_path_factory.mktemp("splits")
    learn = packed_split(root / "train", people=3, frames=2)
    val = packed_split(root / "val", people=2, frames=1, first_person=10)
    measures = [measure_quality(learn.context(face), learn.box(face)) for face in range(4)]
    return Inputs(learn, val, fit_quality(measures, (0.25, 0.05)))


def tiny_params(**train_changes: Any) -> Params:
    params = load_params()
    small = {
        "epochs": 4,
        "pairs_per_epoch": 4,
        "batch_size": 4,
        "frozen_epochs": 1,
        "last_stages_until_epoch": 2,
        "threads": 1,
        "patience": 9,
        "val_faces": 4,
    }
    preprocess = {"size_px": PREPROCESS.size_px, "scales": list(PREPROCESS.scales)}
    model = {"backbone": "mobilenetv2_100", "weights": "file"}
    return params.model_copy(
        update={
            "train": params.train.model_copy(update=small | train_changes),
            "preprocess": params.preprocess.model_copy(update=preprocess),
            "model": params.model.model_copy(update=model),
        }
    )


def with_weights(params: Params, path: Path) -> Params:
    """Weights from a file, so that the frozen phase makes sense; they are random."""
    from tests.test_weights import detector

    if not path.exists():
        torch.save(detector(5).backbone.state_dict(), path)
    model = params.model.model_copy(update={"weights_file": str(path)})
    return params.model_copy(update={"model": model})


def run(params: Params, inputs: Inputs, folder: Path, **options: Any) -> Outcome:
    log: list[str] = []
    history = train(
        params,
        inputs,
        checkpoints=folder / "checkpoints",
        live_dir=folder / "live",
        resume=ResumeFile(RUN, folder.parent / "resume"),
        log=options.get("log", log.append),
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    return Outcome(digests, log, history)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights") / "backbone.pth"


@pytest.fixture(scope="module")
def first(inputs: Inputs, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("first") / "out"
    return run(with_weights(tiny_params(), weights), inputs, folder)


def test_the_same_run_gives_the_same_bytes(
    first: Outcome, inputs: Inputs, weights: Path, tmp_path: Path
) -> None:
    again = run(with_weights(tiny_params(), weights), inputs, tmp_path / "out")
    assert again == first
    assert {"checkpoints/best_model.pt", "checkpoints/last_epoch.pt"} < first.digests.keys()


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    first: Outcome, inputs: Inputs, weights: Path, tmp_path: Path
) -> None:
    params = with_weights(tiny_params(), weights)

    def interrupt(line: str) -> None:
        if line.startswith("epoch 3: everything"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(params, inputs, tmp_path / "out", log=interrupt)
    assert list((tmp_path / "resume").iterdir())
    assert not (tmp_path / "out/checkpoints").exists()
    resumed = run(params, inputs, tmp_path / "out")
    assert resumed.digests == first.digests
    assert any(line.startswith("resumed after epoch 2") for line in resumed.log)
    assert not list((tmp_path / "resume").iterdir())
