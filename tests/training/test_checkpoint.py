"""pipeline.training.network.checkpoint: checkpoints can be loaded and are reproducible."""

from pathlib import Path

import pytest
import torch

from pipeline.runtime.errors import WeightsError
from pipeline.training.network.checkpoint import (
    CheckpointMeta,
    load_detector,
    read_tensors,
    save_detector,
    write_tensors,
)
from pipeline.training.network.model import HEADS, build_model
from pipeline.views.preprocess import Preprocess
from tests.training.test_model import params

META = CheckpointMeta(
    model=params(),
    preprocess=Preprocess(size_px=64, scales=(1.1, 1.5)),
    epoch=7,
    metric=0.875,
    quality={"min_px": [64, 120], "names": "a"},
)


def test_a_saved_detector_can_be_loaded(tmp_path: Path) -> None:
    model = build_model(META.model, META.preprocess).eval()
    save_detector(tmp_path / "best_model.pt", model.state_dict(), META)
    loaded, meta = load_detector(tmp_path / "best_model.pt")
    assert meta == META
    assert not loaded.training
    batch = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for name in HEADS:
            assert torch.equal(loaded(batch)[name], model(batch)[name])


def test_bytes_do_not_depend_on_history(tmp_path: Path) -> None:
    tensor = torch.arange(24.0).reshape(2, 3, 2, 2)
    shared = "".join(["na", "me"])
    first = {"a": tensor, "b": tensor, "names": [shared, shared]}
    other_layout = tensor.clone().contiguous(memory_format=torch.channels_last)
    second = {"a": other_layout, "b": tensor.clone(), "names": ["".join(["n", "ame"]), "name"]}
    write_tensors(tmp_path / "one.pt", first)
    write_tensors(tmp_path / "two.pt", second)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    again = read_tensors(tmp_path / "one.pt")
    write_tensors(tmp_path / "three.pt", again)
    assert (tmp_path / "three.pt").read_bytes() == (tmp_path / "one.pt").read_bytes()
    assert torch.equal(again["a"], tensor)


def test_faults_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "best_model.pt"
    with pytest.raises(WeightsError, match=r"best_model\.pt: not found"):
        load_detector(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"best_model\.pt: damaged"):
        load_detector(path)
    write_tensors(path, {"model": {}})
    with pytest.raises(WeightsError, match=r"best_model\.pt: not a checkpoint of this version"):
        load_detector(path)


def test_a_checkpoint_with_unknown_model_parameters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best_model.pt"
    model = build_model(META.model, META.preprocess)
    save_detector(path, model.state_dict(), META)
    content = read_tensors(path)
    content["params"]["model"]["wings"] = 2
    write_tensors(path, content)
    with pytest.raises(WeightsError, match="wings"):
        load_detector(path)
