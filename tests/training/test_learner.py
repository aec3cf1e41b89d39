"""pipeline.training.loop.learner: one step of a network small enough to be worked out."""

from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.runtime.params import load_params
from pipeline.training.loop.learner import Learner
from pipeline.training.loop.losses import Balance
from pipeline.training.loop.schedule import FROM_SCRATCH, FROZEN

HALF = Balance(real_fake=0.5, inswapper=0.5, boundary=0.5)
LR = 0.01


class TinyNet(nn.Module):
    """A backbone of one matrix, heads of another; the seam map is left out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Linear(3, 4)
        self.heads = nn.Linear(4, 6)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        answers = self.heads(torch.tanh(self.backbone(images.mean(dim=(2, 3)))))
        names = ("real_fake", "inswapper", "boundary")
        return {name: answers[:, k] for k, name in enumerate(names)} | {"quality": answers[:, 3:]}


def learner(**changes: Any) -> Learner:
    params = load_params().train.model_copy(update={"weight_decay": 0.0, **changes})
    fabric = Fabric(accelerator="cpu", devices=1)
    return Learner(TinyNet(), fabric, params, HALF, random_weights=False)  # type: ignore[arg-type]


def batch(seed: int, images: int = 4) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    labels = (torch.arange(images) % 2).float()
    return {
        "image": torch.randn(images, 3, 2, 2, generator=drawn),
        **dict.fromkeys(("real_fake", "inswapper", "boundary"), labels),
        "quality": torch.arange(images) % 3,
    }


def gradients(learns: Learner) -> dict[str, torch.Tensor]:
    named = learns.detector.named_parameters()
    return {name: value.grad.clone() for name, value in named if value.grad is not None}


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def test_a_step_of_several_batches_has_their_mean_gradient() -> None:
    alone = []
    for seed in (1, 2):
        learns = learner()
        learns.backward(batch(seed))
        alone.append(gradients(learns))
    together = learner()
    together.backward(batch(1), 2, is_last=False)
    together.backward(batch(2), 2)
    found = gradients(together)
    assert set(found) == {"backbone.weight", "backbone.bias", "heads.weight", "heads.bias"}
    for name, value in found.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def test_the_backbone_moves_at_its_own_share_of_the_rate() -> None:
    """Adam's first step is the rate itself, whatever the gradient."""
    learns = learner(backbone_lr_scale=0.1)
    before = weights(learns.detector)
    learns.backward(batch(1))
    learns.update(0, LR)
    for name, value in weights(learns.detector).items():
        rate = 0.1 * LR if name.startswith("backbone.") else LR
        assert (value - before[name]).abs().max().item() == pytest.approx(rate, rel=1e-3)


def test_every_step_takes_the_rate_that_it_is_given() -> None:
    learns = learner(backbone_lr_scale=0.1)
    for step, lr in enumerate((LR, 2 * LR)):
        learns.backward(batch(step))
        learns.update(step, lr)
        rates = sorted({group["lr"] for group in learns.state()["optimizer"]["param_groups"]})
        assert rates == pytest.approx([0.1 * lr, lr])


def test_the_mean_follows_the_weights_at_its_decay() -> None:
    learns = learner(ema_decay=0.9)
    before = weights(learns.detector)
    learns.backward(batch(1))
    learns.update(10_000, LR)  # long after the warm-up of the mean
    raw, mean = weights(learns.detector), weights(learns.mean)
    for name, old in before.items():
        torch.testing.assert_close(mean[name], 0.9 * old + 0.1 * raw[name])
        assert not torch.equal(mean[name], raw[name])
    state = learns.state()
    torch.testing.assert_close(state["ema"]["heads.bias"], mean["heads.bias"])
    torch.testing.assert_close(state["model"]["heads.bias"], raw["heads.bias"])


def test_gradients_are_clipped_and_then_forgotten() -> None:
    learns = learner(clip_norm=1e-3)
    learns.backward(batch(1))
    learns.update(0, LR)
    # Adam's first moment is a tenth of the gradient that it was given.
    moments = [values["exp_avg"] for values in learns.state()["optimizer"]["state"].values()]
    norm = torch.cat([10 * moment.flatten() for moment in moments]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-3)
    assert gradients(learns) == {}


def test_a_frozen_backbone_stays_as_it_is_until_its_phase() -> None:
    learns = learner(ema_decay=0.0)
    learns.start_phase(FROZEN)
    before = weights(learns.detector)
    learns.backward(batch(1))
    learns.update(0, LR)
    after = weights(learns.detector)
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"heads.weight", "heads.bias"}
    learns.start_phase(FROM_SCRATCH)
    learns.backward(batch(1))
    learns.update(1, LR)
    assert not torch.equal(weights(learns.detector)["backbone.weight"], before["backbone.weight"])
