"""The weighted loss of the five heads; what is not known is left out."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.core.labels import FAKE, UNKNOWN
from pipeline.runtime.sections import TrainParams
from pipeline.training.network.model import HEADS

Tensors = dict[str, Tensor]

# Those with a target of -1 where it is not known; the seam map says so beside it.
CLASS_HEADS = ("real_fake", "inswapper", "boundary", "quality")

# A class rarer than this would make single images decide a step.
RAREST_FRAC = 0.05


@dataclass(frozen=True)
class Balance:
    """Share of positives among the known labels that training draws, per binary head."""

    real_fake: float
    inswapper: float
    boundary: float


def class_balance(table: pd.DataFrame, pseudo_frac: float, hull_frac: float) -> Balance:
    """What the pair sampler draws: half reals, half fakes, of which `pseudo_frac` are made.

    table: crops of the training split. hull_frac: share of made swaps that are not in INSwapper's
    geometry. Made swaps show their boundary as often as those of the manifest do, or in two of
    three crops when there are none.
    """
    fakes = table[table["label"] == FAKE]
    made = pseudo_frac if len(fakes) else 1.0
    told = fakes.loc[fakes["fake_type"] != "pseudo", "is_inswapper"]
    listed_inswapper = float(told.mean()) if len(told) else 0.0
    known = fakes.loc[fakes["boundary_label"] != UNKNOWN, "boundary_label"]
    return Balance(
        real_fake=0.5,
        inswapper=0.5 * (made * (1 - hull_frac) + (1 - made) * listed_inswapper),
        boundary=0.5 * (float(known.mean()) if len(known) else 2 / 3),
    )


def known_counts(targets: Tensors) -> Tensor:
    """(4,) or, with seam maps, (5,) float: images whose target is known, a head, in HEADS' order.

    targets: as of `multitask_loss`.
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
    """Mean losses a head (unweighted) and their weighted sum "total", all scalars.

    outputs: the detector's logits. targets: real_fake, inswapper, boundary (N,) in {0, 1, -1
    unknown}, quality (N,) in {0, 1, 2, -1}; seam_map (N, 32, 32) in [0, 1] and seam_known (N,) in
    {0, 1} may both be missing. counts: by what the sums over known images are divided, else
    `known_counts`: with its mean over several processes, the mean of their losses is the loss of
    their batches taken together, whatever each of them knows.
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
    """Class-balanced cross-entropy, focal for gamma > 0 (Lin et al. 2017); -1 is left out.

    logits, targets: (N,). positive_frac: expected share of positives; each class then weighs the
    same in total. count: by what the sum is divided, else the number of known targets. Returns a
    scalar, 0 when nothing is known.
    """
    known = (targets != UNKNOWN).float()
    truth = targets.clamp(min=0).float()
    share = min(max(positive_frac, RAREST_FRAC), 1 - RAREST_FRAC)
    weights = 2 * torch.where(truth > 0, 1 - share, share)
    losses = functional.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    if gamma > 0:
        weights = weights * (1 - torch.exp(-losses)) ** gamma
    return _mean_known(weights * losses, known, count)


def quality_loss(logits: Tensor, targets: Tensor, count: Tensor | None = None) -> Tensor:
    """Cross-entropy over (N, 3) logits and (N,) classes; -1 is left out."""
    known = (targets != UNKNOWN).float()
    losses = functional.cross_entropy(logits.float(), targets.clamp(min=0), reduction="none")
    return _mean_known(losses, known, count)


def seam_loss(
    logits: Tensor, targets: Tensor, known: Tensor, count: Tensor | None = None
) -> Tensor:
    """Cross-entropy of (N, S, S) maps with soft targets in [0, 1], over images with known = 1."""
    losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return _mean_known(losses.mean(dim=(1, 2)), known.float(), count)


def _mean_known(losses: Tensor, known: Tensor, count: Tensor | None) -> Tensor:
    count = known.sum() if count is None else count
    return (losses * known).sum() / torch.where(count > 0, count, 1)
