"""Weighted loss of the five heads; unknown targets are ignored."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.labels import FAKE, UNKNOWN
from pipeline.runtime.sections import TrainParams
from pipeline.training.network.model import HEADS

Tensors = dict[str, Tensor]

# Heads whose unknown targets are -1. The seam map has a separate target, seam_known.
CLASS_HEADS = ("real_fake", "inswapper", "boundary", "quality")

# With a rarer class, single images would dominate a step.
RAREST_FRAC = 0.05


@dataclass(frozen=True)
class Balance:
    """Fraction of positives among the known labels that training draws, per binary head."""

    real_fake: float
    inswapper: float
    boundary: float


def class_balance(table: pd.DataFrame, pseudo_frac: float, hull_frac: float) -> Balance:
    """Expected balance of the pair sampler: half reals and half fakes.

    table: crops of the training split. pseudo_frac: fraction of fakes that are made on the fly, all
    of them if the table has none. hull_frac: fraction of made swaps that are not in INSwapper's
    geometry. The boundary is assumed to be visible in made swaps as often as in the table's fakes,
    or in two of three crops if the table has none.
    """
    fakes = table[table["label"] == FAKE]
    made = pseudo_frac if len(fakes) else 1.0
    # The sampler draws genuine fakes, as many of each kind.
    kinds = set(fakes["fake_type"]) - {"pseudo"}
    listed_inswapper = ("inswapper" in kinds) / max(1, len(kinds))
    known = fakes.loc[fakes["boundary_label"] != UNKNOWN, "boundary_label"]
    return Balance(
        real_fake=0.5,
        inswapper=0.5 * (made * (1 - hull_frac) + (1 - made) * listed_inswapper),
        boundary=0.5 * (float(known.mean()) if len(known) else 2 / 3),
    )


def known_counts(targets: Tensors) -> Tensor:
    """Number of images with a known target per head, in HEADS' order.

    targets: as in `multitask_loss`. Returns (4,) float, or (5,) with seam maps.
    """
    counts = [(targets[name] != UNKNOWN).float().sum() for name in CLASS_HEADS]
    if "seam_map" in targets:
        counts.append(targets["seam_known"].float().sum())
    return torch.stack(counts)


def multitask_loss(
    outputs: Tensors,
    targets: Tensors,
    params: TrainParams,
    balance: Balance,
    counts: Tensor | None = None,
) -> Tensors:
    """Mean loss per head (unweighted) and their weighted sum "total", all scalars.

    outputs: the detector's logits. targets: real_fake, inswapper, boundary (N,) in {0, 1, -1
    unknown}, quality (N,) in {0, 1, 2, -1}; seam_map (N, 32, 32) in [0, 1] and seam_known (N,) in
    {0, 1} may both be missing. counts: divisors of the sums over known images, by default
    `known_counts(targets)`. If several processes use the mean of their counts, the mean of their
    losses equals the loss of the joined batch, however the unknown targets are distributed.
    """
    known = dict(zip(HEADS, known_counts(targets) if counts is None else counts, strict=False))
    parts = {
        name: binary_loss(
            outputs[name], targets[name], getattr(balance, name), params.focal_gamma, known[name]
        )
        for name in ("real_fake", "inswapper", "boundary")
    }
    parts["quality"] = quality_loss(outputs["quality"], targets["quality"], known["quality"])
    if "seam_map" in targets:
        parts["seam_map"] = seam_loss(
            outputs["seam_map"], targets["seam_map"], targets["seam_known"], known["seam_map"]
        )
    parts["total"] = torch.stack(
        [getattr(params, f"loss_{name}") * value for name, value in parts.items()]
    ).sum()
    return parts


def binary_loss(
    logits: Tensor,
    targets: Tensor,
    positive_frac: float,
    gamma: float,
    count: Tensor | None = None,
) -> Tensor:
    """Class-balanced cross-entropy, focal for gamma > 0 (Lin et al. 2017); -1 is ignored.

    logits, targets: (N,). positive_frac: expected fraction of positives, which gives both classes
    the same total weight. count: divisor of the sum, by default the number of known targets.
    Returns a scalar, 0 if no target is known.
    """
    known = (targets != UNKNOWN).float()
    truth = targets.clamp(min=0).float()
    frac = min(max(positive_frac, RAREST_FRAC), 1 - RAREST_FRAC)
    weights = 2 * torch.where(truth > 0, 1 - frac, frac)  # (N,)
    losses = functional.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    if gamma > 0:
        weights = weights * (1 - torch.exp(-losses)) ** gamma
    return _mean_known(weights * losses, known, count)


def quality_loss(logits: Tensor, targets: Tensor, count: Tensor | None = None) -> Tensor:
    """Cross-entropy of (N, 3) logits and (N,) classes; -1 is ignored."""
    known = (targets != UNKNOWN).float()
    losses = functional.cross_entropy(logits.float(), targets.clamp(min=0), reduction="none")
    return _mean_known(losses, known, count)


def seam_loss(
    logits: Tensor, targets: Tensor, known: Tensor, count: Tensor | None = None
) -> Tensor:
    """Cross-entropy of (N, S, S) maps with targets in [0, 1], over images with known (N,) = 1."""
    losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return _mean_known(losses.mean(dim=(1, 2)), known.float(), count)


def _mean_known(losses: Tensor, known: Tensor, count: Tensor | None) -> Tensor:
    count = known.sum() if count is None else count
    return (losses * known).sum() / torch.where(count > 0, count, 1)
