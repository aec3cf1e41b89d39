"""pipeline.training.loop.schedule: trained parameters in each epoch."""

import pytest
import torch
from torch import nn

from pipeline.runtime.params import load_params
from pipeline.runtime.sections import TrainParams
from pipeline.training.loop.schedule import (
    FROZEN,
    LAST_STAGES,
    Phase,
    last_stage_names,
    parameter_groups,
    phase_of,
    set_phase,
    train_mode,
)
from pipeline.training.network.model import Detector, build_model
from pipeline.views.preprocess import Preprocess
from tests.training.test_model import params

EVERYTHING = Phase("everything", "all", 0.1)


def train_params() -> TrainParams:
    changes = {"frozen_epochs": 3, "last_stages_until_epoch": 15, "full_lr_scale": 0.1}
    return load_params().train.model_copy(update=changes)


def detector(backbone: str = "mobilenetv2_100") -> Detector:
    torch.manual_seed(0)
    return build_model(params(backbone=backbone), Preprocess(size_px=64))


def trained_stages(model: Detector, depth: int = 2) -> set[str]:
    return {
        ".".join(name.split(".")[:depth])
        for name, parameter in model.backbone.named_parameters()
        if parameter.requires_grad
    }


def test_phases_follow_the_epochs() -> None:
    names = [phase_of(epoch, train_params(), random_weights=False) for epoch in (1, 3, 4, 15, 16)]
    assert names == [FROZEN, FROZEN, LAST_STAGES, LAST_STAGES, EVERYTHING]


def test_random_weights_are_never_frozen() -> None:
    for epoch in (1, 4, 16):
        phase = phase_of(epoch, train_params(), random_weights=True)
        assert (phase.backbone, phase.lr_scale) == ("all", 1.0)


def test_convnext_trains_stages_three_and_four() -> None:
    model = detector("convnext_atto")
    set_phase(model, LAST_STAGES)
    assert trained_stages(model) == {"stages.2", "stages.3", "head.norm"}


def test_mobilenet_trains_its_deepest_half() -> None:
    model = detector()
    set_phase(model, LAST_STAGES)
    assert trained_stages(model) == {
        "blocks.3",
        "blocks.4",
        "blocks.5",
        "blocks.6",
        "conv_head.weight",
        "bn2.weight",
        "bn2.bias",
    }


@pytest.mark.parametrize("backbone", ["resnet18", "vit_tiny_patch16_224", "efficientnet_lite0"])
def test_other_families_have_a_deepest_half(backbone: str) -> None:
    model = detector(backbone)
    names = [name for name, _ in model.backbone.named_parameters()]
    last = set(last_stage_names(model.backbone))
    assert names[0] not in last
    assert names[-1] in last
    assert 0.2 * len(names) < len(last) < 0.8 * len(names)


@pytest.mark.parametrize("phase", [FROZEN, LAST_STAGES, EVERYTHING])
def test_new_layers_are_always_trained(phase: Phase) -> None:
    model = detector()
    set_phase(model, phase)
    assert all(
        parameter.requires_grad
        for name, parameter in model.named_parameters()
        if not name.startswith("backbone.")
    )


def test_frozen_modules_keep_their_batch_statistics() -> None:
    model = detector()
    set_phase(model, LAST_STAGES)
    train_mode(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(4, 3, 64, 64))
    moved = {
        name
        for name, value in model.state_dict().items()
        if name.endswith("running_mean") and not torch.equal(value, before[name])
    }
    assert "backbone.bn1.running_mean" not in moved
    assert not any(name.startswith("backbone.blocks.2.") for name in moved)
    assert any(name.startswith("backbone.blocks.3.") for name in moved)
    assert "backbone.bn2.running_mean" in moved
    assert any(name.startswith("frequency.") for name in moved)


def test_a_frozen_backbone_gets_no_gradient() -> None:
    model = detector()
    set_phase(model, FROZEN)
    train_mode(model)
    sum(value.mean() for value in model(torch.randn(2, 3, 64, 64)).values()).backward()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert model.real_fake.weight.grad is not None


def test_norms_and_biases_do_not_decay() -> None:
    model = detector()
    groups = parameter_groups(model, train_params(), random_weights=False)
    counted = sum(len(group["params"]) for group in groups)
    assert counted == len(list(model.parameters()))
    for group in groups:
        decays = group["weight_decay"] > 0
        assert all((parameter.ndim > 1) == decays for parameter in group["params"])
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    undecayed = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert all(id(norm.weight) in undecayed for norm in norms)


def test_a_pretrained_backbone_has_a_lower_learning_rate() -> None:
    chosen = train_params()
    scales = [g["lr_scale"] for g in parameter_groups(detector(), chosen, random_weights=False)]
    assert scales == [chosen.backbone_lr_scale] * 2 + [1.0] * 2
    random = [g["lr_scale"] for g in parameter_groups(detector(), chosen, random_weights=True)]
    assert random == [1.0] * 4
