"""pipeline.training.network.model: outputs, options and the exported graph."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.runtime.errors import WeightsError
from pipeline.runtime.sections import ModelParams
from pipeline.training.network.model import HEADS, Detector, build_model, create_backbone
from pipeline.views.preprocess import Preprocess

PREPROCESS = Preprocess(size_px=64)


def params(**changes: object) -> ModelParams:
    values: dict[str, object] = {
        "views": ["1.1x", "1.5x", "2x"],
        "backbone": "mobilenetv2_100",
        "weights": "none",
        "weights_file": "",
        "frequency": "highpass",
        "rgb_dim": 768,
        "frequency_dim": 256,
        "hidden_dim": 512,
        "dropout": 0.2,
    }
    return ModelParams.model_validate(values | changes)


def build(seed: int = 0, **changes: object) -> Detector:
    torch.manual_seed(seed)
    return build_model(params(**changes), PREPROCESS).eval()


@pytest.mark.parametrize("backbone", ["mobilenetv2_100", "convnext_atto", "vit_tiny_patch16_224"])
def test_outputs_have_the_documented_shapes(backbone: str) -> None:
    outputs = build(backbone=backbone)(torch.randn(2, 3, 64, 64))
    shapes = {name: tuple(values.shape) for name, values in outputs.items()}
    assert shapes == {
        "real_fake": (2,),
        "inswapper": (2,),
        "boundary": (2,),
        "quality": (2, 3),
        "seam_map": (2, 32, 32),
    }
    assert tuple(outputs) == HEADS


def test_a_crops_scores_do_not_depend_on_the_batch() -> None:
    model, batch = build(), torch.randn(3, 3, 64, 64)
    together, alone = model(batch), model(batch[1:2])
    for name in HEADS:
        torch.testing.assert_close(together[name][1:2], alone[name], atol=1e-5, rtol=1e-4)


def test_branches_are_joined_to_1024_and_then_512() -> None:
    model = build()
    assert model.mlp[0].in_features == 1024
    assert model.mlp[0].out_features == 512
    assert isinstance(model.project, torch.nn.Linear)  # 1280 -> 768
    assert build(frequency="off").mlp[0].in_features == 768


def test_a_backbone_of_768_is_not_projected() -> None:
    model = build(backbone="convnext_tiny")
    assert isinstance(model.project, torch.nn.Identity)
    assert model.seam_map[0].in_channels == 192  # the second stage, stride 8


def test_the_seam_map_is_aligned_with_the_image() -> None:
    model = build()
    flat = torch.zeros(1, 3, 64, 64)
    changed = flat.clone()
    changed[..., 40:, 40:] = 2
    with torch.inference_mode():
        difference = (model(changed)["seam_map"] - model(flat)["seam_map"]).abs()[0]
    assert difference[20:, 20:].mean() > 20 * difference[:6, :6].mean()


def test_unknown_backbones_are_refused_with_similar_names() -> None:
    with pytest.raises(WeightsError, match=r"convnext_tinny.*near: convnext_"):
        create_backbone("convnext_tinny", 64)


@pytest.mark.slow
def test_the_exported_graph_gives_the_same(tmp_path: Path) -> None:
    model = build()
    batch = torch.randn(2, 3, 64, 64)
    program = torch.onnx.export(
        model,
        (batch,),
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("crops")},),
        input_names=["crops"],
        output_names=list(HEADS),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    other = torch.randn(5, 3, 64, 64)
    seen = session.run(list(HEADS), {"crops": other.numpy()})
    with torch.inference_mode():
        expected = model(other)
    for name, values in zip(HEADS, seen, strict=True):
        np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-4, err_msg=name)
