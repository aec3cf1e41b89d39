"""Benchmark of a training step of ConvNeXt-Tiny at 256 px against a plain step in fp32."""

from contextlib import ExitStack

import torch
from loky import cpu_count

from pipeline.runtime.params import Params, load_params
from pipeline.training.network.hardware import choose_precision
from tests.bench.options import Options
from tests.bench.rows import Goal, Row, faster, number
from tests.bench.stepper import learning, stored_inputs
from tests.bench.timing import timed

WORK = "training step, ConvNeXt-Tiny, 256 px"
BATCH = 8
LOSS_CHANGE = Goal(2, at_least=False, of="ours")


def rows(options: Options) -> list[Row]:
    """Raises ManifestError without a packed split."""
    params, inputs = convnext(load_params()), stored_inputs()
    losses: dict[str, list[float]] = {"ours": [], "plain": []}
    with ExitStack() as stack:
        ours = stack.enter_context(learning(params, inputs, plain=False))
        plain = stack.enter_context(learning(params, inputs, plain=True))
        works = {
            "ours": lambda: losses["ours"].append(ours("step")),
            "plain": lambda: losses["plain"].append(plain("step")),
        }
        found = timed(works, options.few_rounds)
        images_per_s, waiting = ours("waiting")
    precision, device = choose_precision("auto"), "GPU" if torch.cuda.is_available() else "CPU"
    name = f"{WORK}, {device}, {precision} and channels-last"
    against = "the same step in fp32, without channels-last"
    return [
        faster(name, against, found["ours"], found["plain"], BATCH, "images/s", Goal(2)),
        number(
            f"{WORK}: loss of {len(losses['ours'])} steps in {precision}",
            largest_change(losses["ours"], losses["plain"]),
            "% off fp32 at most",
            LOSS_CHANGE,
        ),
        number(f"{WORK}: with its loader processes", images_per_s, "images/s"),
        number(f"{WORK}: waiting for the loader", 100 * waiting, "% of the time"),
    ]


def convnext(params: Params) -> Params:
    """The recipe of `make production` with random weights and batches that fit on a laptop."""
    model = params.model.model_copy(update={"backbone": "convnext_tiny", "weights": "none"})
    update = {"precision": "auto", "batch_size": BATCH, "threads": cpu_count()}
    train = params.train.model_copy(update={**update, "lr": 0.0003})
    return params.model_copy(update={"model": model, "train": train})


def largest_change(ours: list[float], plain: list[float]) -> float:
    """Largest difference of two loss curves in percent of the plain one."""
    return max(100 * abs(a / b - 1) for a, b in zip(ours, plain, strict=True))
