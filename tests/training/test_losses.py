"""pipeline.training.loop.losses: exact values, masked targets and class balance."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.runtime.params import load_params
from pipeline.runtime.sections import TrainParams
from pipeline.training.loop.losses import (
    Balance,
    binary_loss,
    class_balance,
    known_counts,
    multitask_loss,
    quality_loss,
    seam_loss,
)

HALF = Balance(real_fake=0.5, inswapper=0.5, boundary=0.5)
LN2 = math.log(2)


def train_params(**changes: float) -> TrainParams:
    return load_params().train.model_copy(update=changes)


def tensors(n: int = 4) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    heads = ("real_fake", "inswapper", "boundary")
    outputs = {name: torch.zeros(n) for name in heads}
    outputs |= {"quality": torch.zeros(n, 3), "seam_map": torch.zeros(n, 32, 32)}
    targets = {name: torch.arange(n) % 2 * 1.0 for name in heads}
    targets |= {
        "quality": torch.arange(n) % 3,
        "seam_map": torch.rand(n, 32, 32),
        "seam_known": torch.ones(n),
    }
    return outputs, targets


def test_logits_of_zero_cost_the_log_of_the_classes() -> None:
    outputs, targets = tensors()
    parts = multitask_loss(outputs, targets, train_params(focal_gamma=0.0), HALF)
    values = {name: value.item() for name, value in parts.items()}
    expected = dict.fromkeys(("real_fake", "inswapper", "boundary", "seam_map"), LN2)
    expected["quality"] = math.log(3)
    expected["total"] = LN2 * (1.0 + 0.7 + 0.4 + 0.3) + 0.2 * math.log(3)
    assert values == pytest.approx(expected, rel=1e-5)


def test_binary_loss_is_the_cross_entropy() -> None:
    logits, truth = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert binary_loss(logits, truth, 0.5, 0).item() == pytest.approx(expected)


def test_both_classes_have_equal_total_weight() -> None:
    logits = torch.zeros(10)
    truth = torch.tensor([1.0] * 2 + [0.0] * 8)
    both = binary_loss(logits, truth, 0.2, 0)
    assert both.item() == pytest.approx(LN2 * 2 * (2 * 0.8 + 8 * 0.2) / 10)
    positive = binary_loss(logits[:2], truth[:2], 0.2, 0).item() * 2
    negative = binary_loss(logits[2:], truth[2:], 0.2, 0).item() * 8
    assert positive == pytest.approx(negative)


def test_focal_loss_reduces_the_weight_of_correct_predictions() -> None:
    logits, truth = torch.tensor([3.0]), torch.tensor([1.0])
    p = 1 / (1 + math.exp(-3))
    expected = (1 - p) ** 2 * -math.log(p)
    assert binary_loss(logits, truth, 0.5, 2).item() == pytest.approx(expected, rel=1e-4)


def test_unknown_labels_change_nothing() -> None:
    logits = torch.tensor([1.5, -0.5, 40.0], requires_grad=True)
    loss = binary_loss(logits, torch.tensor([1.0, 0.0, -1.0]), 0.5, 0)
    loss.backward()
    assert loss.item() == pytest.approx(
        binary_loss(logits[:2], torch.tensor([1.0, 0.0]), 0.5, 0).item()
    )
    assert logits.grad is not None
    assert logits.grad[2] == 0
    assert binary_loss(logits, torch.full((3,), -1.0), 0.5, 0).item() == 0


def test_unknown_quality_changes_nothing() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    known = quality_loss(logits[:1], torch.tensor([0]))
    assert quality_loss(logits, torch.tensor([0, -1])).item() == pytest.approx(known.item())


def test_an_unknown_seam_changes_nothing() -> None:
    logits = torch.randn(2, 32, 32)
    target = torch.rand(2, 32, 32)
    both = seam_loss(logits, target, torch.tensor([1.0, 0.0]))
    assert both.item() == pytest.approx(seam_loss(logits[:1], target[:1], torch.ones(1)).item())


def test_targets_without_a_seam_map_leave_it_out() -> None:
    outputs, targets = tensors()
    del targets["seam_map"], targets["seam_known"]
    assert "seam_map" not in multitask_loss(outputs, targets, train_params(), HALF)


def test_balance_follows_the_labels() -> None:
    table = pd.DataFrame(
        {
            "label": [0, 0, 1, 1, 1, 1],
            "fake_type": ["real", "real", "inswapper", "inswapper", "uniface", "uniface"],
            "is_inswapper": [0, 0, 1, 1, 0, 0],
            "boundary_label": [0, 0, 1, 1, 0, -1],
        }
    )
    balance = class_balance(table, pseudo_frac=0.5, hull_frac=0.1)
    assert balance.real_fake == 0.5
    assert balance.inswapper == pytest.approx(0.5 * (0.5 * 0.9 + 0.5 * 0.5))
    assert balance.boundary == pytest.approx(0.5 * 2 / 3)
    # The INSwapper label of the manifest's pseudo-swaps is ignored.
    pseudo = pd.DataFrame(
        {"label": [1], "fake_type": ["pseudo"], "is_inswapper": [1], "boundary_label": [1]}
    )
    with_pseudo = class_balance(pd.concat([table, pseudo]), pseudo_frac=0.5, hull_frac=0.1)
    assert with_pseudo.inswapper == balance.inswapper
    assert with_pseudo.boundary == pytest.approx(0.5 * 3 / 4)
    reals = class_balance(table[:2], pseudo_frac=0.5, hull_frac=0.1)
    assert reals.inswapper == pytest.approx(0.45)
    assert np.isfinite([reals.real_fake, reals.boundary]).all()


def test_the_mean_loss_of_parts_is_the_loss_of_the_batch() -> None:
    torch.manual_seed(0)
    outputs, targets = tensors(7)
    outputs = {name: torch.randn_like(values) for name, values in outputs.items()}
    # The first part has no known targets of these heads, the second a few.
    targets["inswapper"][:4] = targets["boundary"][:6] = -1
    targets["quality"][:6] = -1
    targets["seam_known"][:5] = 0
    slices = [slice(0, 4), slice(4, 7)]
    parts = [
        tuple({name: values[rows] for name, values in side.items()} for side in (outputs, targets))
        for rows in slices
    ]
    counts = sum(known_counts(known) for _, known in parts) / len(parts)
    losses = [multitask_loss(*part, train_params(), HALF, counts) for part in parts]
    whole = multitask_loss(outputs, targets, train_params(), HALF)
    for name, value in whole.items():
        assert sum(part[name] for part in losses) / 2 == pytest.approx(value.item(), rel=1e-5)


def test_without_known_targets_the_loss_is_zero() -> None:
    outputs, targets = tensors()
    targets = {name: torch.full_like(values, -1) for name, values in targets.items()}
    targets["seam_known"] = torch.zeros(4)
    assert multitask_loss(outputs, targets, train_params(), HALF)["total"] == 0
