from pathlib import Path

import pytest
import torch

from pipeline.bundle.session import golden_crops
from pipeline.runtime.errors import BundleError, WeightsError
from pipeline.runtime.params import Params, load_params
from pipeline.runtime.sections import ModelParams
from pipeline.training.network.checkpoint import CheckpointMeta, save_detector
from pipeline.training.network.model import HEADS, Detector, build_model
from pipeline.training.scoring.scorer import torch_network
from pipeline.training.scoring.served import load_scorer
from pipeline.views.preprocess import Preprocess
from tests.support.tiny_trees import stump

PREPROCESS = Preprocess(size_px=64)


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(Path(__file__).parents[2] / "params.yaml")


def save_small(path: Path, params: Params) -> tuple[Detector, CheckpointMeta]:
    """Save a small untrained detector and return what was saved."""
    small = {"backbone": "test_efficientnet", "rgb_dim": 32, "frequency_dim": 16, "hidden_dim": 16}
    model_params = ModelParams.model_validate(params.model.model_dump() | small)
    torch.manual_seed(0)
    model = build_model(model_params, PREPROCESS)
    meta = CheckpointMeta(model_params, PREPROCESS, epoch=2, metric=0.5, quality={})
    save_detector(path, model.state_dict(), meta)
    return model, meta


@pytest.mark.slow
def test_the_scorer_is_the_trained_network_its_views_and_the_trees(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSWAPPER_DEVICE", "cpu")
    path, trees = tmp_path / "best_model.pt", tmp_path / "trees.npz"
    model, meta = save_small(path, params)
    trees.write_bytes(stump().to_bytes())
    scorer = load_scorer(path, trees, params)
    assert scorer.preprocess == meta.preprocess
    assert scorer.trees is not None
    assert scorer.trees.to_bytes() == stump().to_bytes()
    inputs = PREPROCESS.to_input(golden_crops(3, 64))
    expected = torch_network(model.eval())(inputs)
    served = scorer.network(inputs)
    for head in HEADS:
        assert served[head] == pytest.approx(expected[head], abs=1e-4)


def test_missing_files_are_named(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "best_model.pt"
    with pytest.raises(WeightsError, match=r"best_model\.pt: not found; run the train stage"):
        load_scorer(path, None, params)
    save_small(path, params)
    with pytest.raises(BundleError, match=r"trees\.npz: cannot be read"):
        load_scorer(path, tmp_path / "trees.npz", params)
