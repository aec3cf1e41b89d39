"""Training steps of our loop and of a plain loop, each in its own process.

The processes are separate because our memory settings for the C library would also speed up the
plain loop.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from pipeline.runtime.params import Params
from pipeline.training.loop.dataset import TrainDataset, init_worker
from pipeline.training.loop.losses import class_balance, multitask_loss
from pipeline.training.loop.schedule import FROM_SCRATCH, parameter_groups
from pipeline.training.loop.train import Run, TrainingInputs
from pipeline.training.network.hardware import keep_freed_memory, same_bits
from pipeline.training.network.model import build_model
from pipeline.training.pairs.images import trained_preprocess
from pipeline.training.pairs.sampler import PairSampler
from pipeline.training.store.reader import open_zarr
from pipeline.views.quality import QualityThresholds

Batch = dict[str, Tensor]
# Number of different batches, which are repeated.
BATCHES = 4
WAITED_BATCHES = 6
LOADERS = 2
STOP = "stop"


class Ours:
    """Steps of the training loop at the learning rate after warm-up."""

    def __init__(self, params: Params, inputs: TrainingInputs) -> None:
        self._params, self._inputs = params, inputs
        self._run = Run(params, inputs, log=lambda _: None)
        self._batches = cycle(batches_of(params, inputs))

    def step(self) -> float:
        return self._learn(next(self._batches))

    def waiting(self) -> tuple[float, float]:
        """Images per second with loader processes, and the fraction of time spent waiting."""
        dataset = TrainDataset(self._inputs.train, self._params, self._inputs.quality)
        loader = DataLoader(
            dataset,
            batch_sampler=pair_sampler(self._params, self._inputs),
            num_workers=LOADERS,
            worker_init_fn=init_worker,
        )
        stream = iter(loader)
        self._learn(next(stream))
        waited, images, started = 0.0, 0, time.perf_counter()
        for _ in range(WAITED_BATCHES):
            asked = time.perf_counter()
            batch = next(stream)
            waited += time.perf_counter() - asked
            self._learn(batch)
            images += len(batch["image"])
        took = time.perf_counter() - started
        return images / took, waited / took

    def _learn(self, batch: Batch) -> float:
        loss = self._run.learner.backward(batch)["total"].item()
        self._run.update(warm_step(self._params), FROM_SCRATCH)
        return float(loss)


class Plain:
    """A plain loop: fp32 and PyTorch's default memory layout, with the same loss and rates."""

    def __init__(self, params: Params, inputs: TrainingInputs) -> None:
        self._params = params
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(params.train.seed)
        self._model = build_model(params.model, trained_preprocess(params)).to(self._device)
        groups = parameter_groups(self._model, params.train, random_weights=True)
        for group in groups:
            group["lr"] = params.train.lr * group["lr_scale"]
        self._optimizer = torch.optim.AdamW(groups)
        sampler = pair_sampler(params, inputs)
        swaps = params.pseudo_swap
        self._balance = class_balance(inputs.train.table, sampler.pseudo_frac, swaps.hull_frac)
        self._batches = cycle(batches_of(params, inputs))

    def step(self) -> float:
        batch = {name: values.to(self._device) for name, values in next(self._batches).items()}
        outputs = self._model(batch["image"])
        total = multitask_loss(outputs, batch, self._params.train, self._balance)["total"]
        total.backward()
        clip_norm = self._params.train.clip_norm
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(total.item())


def stored_inputs() -> TrainingInputs:
    """TrainingInputs of stage `train`. Raises ManifestError if they are missing."""
    quality = Path("data/manifests/quality.json")
    thresholds = QualityThresholds.from_dict(json.loads(quality.read_text(encoding="utf-8")))
    train, val = (open_zarr(Path(f"data/zarr/{split}.zarr")) for split in ("train", "val"))
    return TrainingInputs(train, val, thresholds)


def batches_of(params: Params, inputs: TrainingInputs) -> list[Batch]:
    """First batches of an epoch."""
    dataset = TrainDataset(inputs.train, params, inputs.quality)
    drawn = islice(iter(pair_sampler(params, inputs)), BATCHES)
    return [default_collate([dataset[item] for item in items]) for items in drawn]


def warm_step(params: Params) -> int:
    """A step at which the learning rate is at its maximum."""
    train = params.train
    steps = -(-2 * train.pairs_per_epoch // train.batch_size // train.accumulate)
    return train.warmup_epochs * steps


@contextmanager
def learning(
    params: Params, inputs: TrainingInputs, *, plain: bool
) -> Iterator[Callable[[str], Any]]:
    """Start a learner in a new process; yields a function that calls one of its methods."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, params, inputs, plain))
    process.start()
    theirs.close()

    def call(method: str) -> Any:
        ours.send(method)
        return ours.recv()

    try:
        yield call
    finally:
        # Closing the pipe is not enough, because loader processes have copies of its ends.
        ours.send(STOP)
        process.join()


def _serve(calls: Connection, params: Params, inputs: TrainingInputs, plain: bool) -> None:
    threads = params.train.threads
    if plain:
        torch.set_num_threads(threads)
        _answer(calls, Plain(params, inputs), params.train.seed)
        return
    keep_freed_memory()
    with same_bits(threads):
        _answer(calls, Ours(params, inputs), params.train.seed)


def _answer(calls: Connection, learner: Ours | Plain, seed: int) -> None:
    while True:
        method = calls.recv()
        if method == STOP:
            return
        # The same dropout in both processes.
        torch.manual_seed(seed)
        calls.send(getattr(learner, method)())


def pair_sampler(params: Params, inputs: TrainingInputs) -> PairSampler:
    """Sampler with the training loop's settings, with equal weights for all faces."""
    return PairSampler(
        inputs.train.faces,
        pseudo_frac=params.pseudo_swap.frac,
        pairs=params.train.pairs_per_epoch,
        batch_size=params.train.batch_size,
        seed=params.train.seed,
    )
