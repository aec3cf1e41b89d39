"""Training phases (new layers, then the backbone's deepest half, then all) and learning rates."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from timm.models import group_parameters
from torch import nn

from pipeline.runtime.errors import WeightsError
from pipeline.runtime.sections import TrainParams
from pipeline.training.network.model import Detector

Part = Literal["none", "last_stages", "all"]


@dataclass(frozen=True)
class Phase:
    """A training phase.

    backbone: its trained part. lr_scale: factor of every learning rate during the phase.
    """

    name: str
    backbone: Part
    lr_scale: float


FROZEN = Phase("frozen backbone", "none", 1.0)
LAST_STAGES = Phase("last stages", "last_stages", 1.0)
FROM_SCRATCH = Phase("everything, from random weights", "all", 1.0)


def phase_of(epoch: int, params: TrainParams, *, random_weights: bool) -> Phase:
    """Phase of an epoch, counted from 1.

    A backbone with random weights has nothing to preserve, so everything is trained at the full
    rate in all epochs.
    """
    if random_weights:
        return FROM_SCRATCH
    if epoch <= params.frozen_epochs:
        return FROZEN
    if epoch <= params.last_stages_until_epoch:
        return LAST_STAGES
    return Phase("everything", "all", params.full_lr_scale)


def set_phase(model: Detector, phase: Phase) -> None:
    """Enable gradients for the parameters that the phase trains, and disable all others."""
    trained = set(last_stage_names(model.backbone)) if phase.backbone == "last_stages" else set()
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(phase.backbone == "all" or name in trained)


def train_mode(model: Detector) -> None:
    """Set training mode, except for frozen modules, which keep their batch statistics."""
    model.train()
    for module in model.backbone.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def last_stage_names(backbone: Any) -> list[str]:
    """Names of the parameters in the deepest half of the backbone's stages, as timm groups them.

    These are stages 3 and 4 of a ConvNeXt, and blocks 3 to 6 with the last convolution of a
    MobileNetV2. Raises WeightsError if timm cannot group the backbone.
    """
    if not hasattr(backbone, "group_matcher"):
        raise WeightsError("model.backbone: timm defines no stages for it; choose another")
    groups: dict[Any, list[str]] = group_parameters(backbone, backbone.group_matcher(coarse=True))
    stages = [groups[key] for key in sorted(groups)]
    return [name for stage in stages[-(len(stages) // 2) :] for name in stage]


def parameter_groups(
    model: Detector, params: TrainParams, *, random_weights: bool
) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: backbone and new layers, each with and without weight decay.

    Norms and biases (fewer than two dimensions) have no decay. lr_scale of a group: factor of
    train.lr, which is 1 for a backbone with random weights.
    """
    backbone_scale = 1.0 if random_weights else params.backbone_lr_scale
    new = ((n, p) for n, p in model.named_parameters() if not n.startswith("backbone."))
    return [
        *_by_decay(model.backbone.named_parameters(), params.weight_decay, backbone_scale),
        *_by_decay(new, params.weight_decay, 1.0),
    ]


def _by_decay(
    named: Iterable[tuple[str, nn.Parameter]], decay: float, lr_scale: float
) -> Iterator[dict[str, Any]]:
    parameters = [parameter for _, parameter in named]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    yield {"params": matrices, "weight_decay": decay, "lr_scale": lr_scale}
    yield {"params": vectors, "weight_decay": 0.0, "lr_scale": lr_scale}


def lr_factor(step: int, total_steps: int, warmup_steps: int, min_frac: float) -> float:
    """Fraction of the peak learning rate at `step` (0 to total_steps - 1).

    It rises linearly over warmup_steps, then falls along half a cosine to min_frac. It is in (0, 1]
    for min_frac > 0.
    """
    warmup = min(warmup_steps, total_steps - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total_steps - 1 - warmup)
    return min_frac + (1 - min_frac) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
