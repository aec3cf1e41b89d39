from pathlib import Path

import pytest
import torch

from pipeline.errors import WeightsError
from pipeline.params import ModelParams, Params, load_params
from pipeline.preprocess import Preprocess
from pipeline.session import golden_crops
from pipeline.training.checkpoint import CheckpointMeta, save_detector
from pipeline.training.model import HEADS, build_model
from pipeline.training.scoring import crop_logits
from pipeline.training.served import ServedNetwork, load_network

PREPROCESS = Preprocess(size_px=64)


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(Path(__file__).parents[1] / "params.yaml")


def test_the_served_graph_answers_as_the_trained_network(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSWAPPER_DEVICE", "cpu")
    small = {"backbone": "mobilenetv2_035", "rgb_dim": 32, "frequency_dim": 16, "hidden_dim": 16}
    model_params = ModelParams.model_validate(params.model.model_dump() | small)
    torch.manual_seed(0)
    model = build_model(model_params, PREPROCESS)
    path = tmp_path / "best_model.pt"
    meta = CheckpointMeta(model_params, PREPROCESS, epoch=2, metric=0.5, quality={})
    save_detector(path, model.state_dict(), meta)
    network, found = load_network(path, params)
    assert isinstance(network, ServedNetwork)
    assert found == meta
    crops = list(golden_crops(3, 64))
    expected = crop_logits(model.eval(), crops, PREPROCESS)
    served = crop_logits(network, crops, PREPROCESS)
    for head in HEADS:
        assert served[head] == pytest.approx(expected[head], abs=1e-4)


def test_a_missing_checkpoint_is_named(tmp_path: Path, params: Params) -> None:
    with pytest.raises(WeightsError, match=r"best_model\.pt: not found; run the train stage"):
        load_network(tmp_path / "best_model.pt", params)
