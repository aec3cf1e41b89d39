"""The training run: epochs over pairs, validation, the best checkpoint, resumption."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from dvclive.live import Live
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from pipeline.runtime.errors import TrainingError
from pipeline.runtime.params import Params
from pipeline.runtime.progress import tracked
from pipeline.runtime.workers import clear_worker_errors, worker_count
from pipeline.training.loop.dataset import TrainDataset, init_worker
from pipeline.training.loop.history import (
    EpochRow,
    best_row,
    log_live,
    merit,
    summary,
    write_history,
)
from pipeline.training.loop.learner import Batch, Learner
from pipeline.training.loop.losses import class_balance
from pipeline.training.loop.parallel import (
    BatchShare,
    Log,
    connected_fabric,
    is_first,
    process_count,
    processes_here,
    rank,
)
from pipeline.training.loop.resume import ResumeFile
from pipeline.training.loop.schedule import Phase, lr_factor, phase_of, train_mode
from pipeline.training.loop.validation import Validator
from pipeline.training.network.checkpoint import CheckpointMeta, save_detector
from pipeline.training.network.hardware import choose_precision, keep_freed_memory, same_bits
from pipeline.training.network.model import Detector, build_model
from pipeline.training.network.weights import load_pretrained
from pipeline.training.pairs.images import face_balance, trained_preprocess
from pipeline.training.pairs.sampler import PairSampler
from pipeline.training.store.reader import FaceStore
from pipeline.views.quality import QualityThresholds

BEST: Final = "best_model.pt"
LAST: Final = "last_epoch.pt"
HISTORY: Final = "history.csv"
TRAINING_SECTIONS: Final = (
    "preprocess",
    "crop_faces",
    "model",
    "pseudo_swap",
    "augment",
    "train",
    "fusion",
)


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """Splits to train and validate on. quality: thresholds for quality labels after degradation."""

    train: FaceStore
    val: FaceStore
    quality: QualityThresholds


def training_params(params: Params) -> dict[str, Any]:
    """All parameters that determine a checkpoint, as plain values, for its fingerprint."""
    processes = {"processes": process_count()} if process_count() > 1 else {}
    return {
        **processes,
        **params.model_dump(include=set(TRAINING_SECTIONS)),
        "compressed_jpeg": params.evaluate.compressed_jpeg,
        "min_surroundings_frac": params.calibrate.min_surroundings_frac,
    }


def train(
    params: Params,
    inputs: TrainingInputs,
    checkpoints: Path,
    live_dir: Path,
    resume: ResumeFile,
    log: Log = print,
) -> list[EpochRow]:
    """Train a detector; write best_model.pt, last_epoch.pt, history.csv and DVCLive's files.

    Equal inputs give equal bytes on the same kind of processor, whether or not the run was
    interrupted, and with any number of loader processes. With several training processes, the first
    one writes. Returns the history, one row per epoch.
    Raises WeightsError, ManifestError, ParamsError, ResumeError, TrainingError or WorkerDiedError.
    """
    keep_freed_memory()
    with same_bits(params.train.threads), clear_worker_errors():
        run = Run(params, inputs, log)
        run.resume(resume)
        if is_first():
            _record(run, params.train.epochs, live_dir, resume, log)
            run.save(checkpoints)
            resume.delete()
        else:
            deque(run.epochs(), maxlen=0)
    return run.history


def _record(run: "Run", epochs: int, live_dir: Path, resume: ResumeFile, log: Log) -> None:
    """Run the remaining epochs, and log and save each one at its end."""
    with Live(str(live_dir), dvcyaml=None, save_dvc_exp=False) as live:
        for done in range(len(run.history)):
            log_live(live, run.history[: done + 1])
        for row in run.epochs():
            log_live(live, run.history)
            resume.save(run.state())
            log(summary(row, epochs))


class Run:
    """A training run. history: one row per finished epoch.

    With several processes, each has its own run with an equal history and a part of every batch.
    """

    def __init__(self, params: Params, inputs: TrainingInputs, log: Log) -> None:
        self._params, self._log = params, log
        self._quality = inputs.quality
        self._preprocess = trained_preprocess(params)
        self._random_weights = params.model.weights == "none"
        self._sampler = PairSampler(
            inputs.train.faces,
            pseudo_frac=params.pseudo_swap.frac,
            pairs=params.train.pairs_per_epoch,
            batch_size=params.train.batch_size * process_count(),
            seed=params.train.seed,
            balance=face_balance(inputs.train, params),
        )
        dataset = TrainDataset(inputs.train, params, inputs.quality)
        self._loader = _loader(dataset, BatchShare(self._sampler, rank(), process_count()))
        log(self._sampler.summary)
        self._balance = class_balance(
            inputs.train.table, self._sampler.pseudo_frac, params.pseudo_swap.hull_frac
        )
        self._validator = Validator(inputs.val, params, self._balance)
        detector = self._build()
        self._fabric = self._connect()
        self.learner = Learner(
            detector,
            self._fabric,
            params.train,
            self._balance,
            random_weights=self._random_weights,
        )
        self.history: list[EpochRow] = []
        self._best_state: dict[str, Tensor] = {}

    def _build(self) -> Detector:
        torch.manual_seed(self._params.train.seed)
        model = build_model(self._params.model, self._preprocess)
        source = load_pretrained(model, self._params.model, self._preprocess.size_px)
        self._log(f"{self._params.model.backbone} with {source}")
        if self._random_weights:
            self._log("random weights: no frozen phase, everything is trained from the first epoch")
        return model.to(memory_format=torch.channels_last)

    def _connect(self) -> Fabric:
        params = self._params.train
        precision = choose_precision(params.precision)
        fabric = connected_fabric(precision)
        self._log(f"{fabric.device}, {precision}, {params.threads} threads")
        if process_count() > 1:
            self._log(
                f"{process_count()} processes, {params.batch_size} images per process in a batch"
            )
        return fabric

    def epochs(self) -> Iterator[EpochRow]:
        """Train the remaining epochs; yield the history row of each."""
        params = self._params.train
        while len(self.history) < params.epochs:
            if self._epochs_since_best() >= params.patience:
                self._log(f"no improvement in {params.patience} epochs: stopped early")
                return
            epoch = len(self.history) + 1
            yield self._epoch(epoch, phase_of(epoch, params, random_weights=self._random_weights))

    def _epoch(self, epoch: int, phase: Phase) -> EpochRow:
        # All randomness of an epoch follows from its number, so an interrupted epoch can be rerun.
        torch.manual_seed(_mixed_seed(self._params.train.seed, epoch))
        self.learner.start_phase(phase)
        losses = self._train_epoch(epoch, phase)
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingError(f"epoch {epoch}: a loss is not finite ({losses}); lower train.lr")
        lr = self._lr(epoch * self._steps_per_epoch() - 1, phase)
        row: EpochRow = {
            "epoch": epoch,
            "phase": phase.name,
            "lr": lr,
            **{f"pairs_{kind}": n for kind, n in self._sampler.kinds(epoch).items()},
            **losses,
            **self._validate(),
        }
        if not self.history or merit(row) > merit(best_row(self.history)):
            self._best_state = _copied(self.learner.mean.state_dict())
        self.history.append(row)
        return row

    def _validate(self) -> EpochRow:
        """Validate in the first process and broadcast the results to the others."""
        values = self._validator.run(self.learner.mean.eval()) if is_first() else {}
        return dict(self._fabric.broadcast(values))

    def _train_epoch(self, epoch: int, phase: Phase) -> dict[str, float]:
        """Train one pass over the loader; return the mean of each loss over the batches."""
        train_mode(self.learner.detector)
        self._sampler.set_epoch(epoch)
        accumulate, batches = self._params.train.accumulate, len(self._sampler)
        step = (epoch - 1) * self._steps_per_epoch()
        sums: dict[str, Tensor] = {}
        unit = f"batches of epoch {epoch}"
        loader = tracked(self._loader, batches, unit) if is_first() else self._loader
        for index, batch in enumerate(loader):
            in_step = min(accumulate, batches - index // accumulate * accumulate)
            is_last = (index + 1) % accumulate == 0 or index + 1 == batches
            parts = self.learner.backward(batch, in_step, is_last=is_last)
            if is_last:
                self.update(step + index // accumulate, phase)
            for name, value in parts.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().cpu()
        means: Any = self._fabric.all_reduce(self._fabric.to_device(sums), reduce_op="mean")
        return {f"train_{name}": float(value) / batches for name, value in means.items()}

    def update(self, step: int, phase: Phase) -> None:
        """Update the weights with the learning rate of `step`, an index in the whole run."""
        self.learner.update(step, self._lr(step, phase))

    def _steps_per_epoch(self) -> int:
        return -(-len(self._sampler) // self._params.train.accumulate)

    def _lr(self, step: int, phase: Phase) -> float:
        """Learning rate of the new layers at a step of the whole run, counted from 0."""
        params, steps = self._params.train, self._steps_per_epoch()
        warmup = round(params.warmup_epochs * steps)
        factor = lr_factor(step, params.epochs * steps, warmup, params.min_lr_frac)
        return params.lr * phase.lr_scale * factor

    def _epochs_since_best(self) -> int:
        return len(self.history) - int(best_row(self.history)["epoch"]) if self.history else 0

    def state(self) -> dict[str, Any]:
        """Everything that determines later epochs, as tensors and plain values."""
        return {**self.learner.state(), "best": self._best_state, "history": self.history}

    def resume(self, file: ResumeFile) -> None:
        """Continue from the file's state, if there is one; the first process reads it for all."""
        state = self._fabric.broadcast(file.load() if is_first() else None)
        if state is not None:
            self.learner.restore(state)
            self._best_state, self.history = state["best"], state["history"]
            self._log(f"resumed after epoch {len(self.history)} ({file.path})")
        elif file.others():
            self._log(
                f"{file.others()[0]} belongs to a run with different params, data, code or number"
                " of processes; restarting"
            )

    def save(self, folder: Path) -> None:
        """Write the checkpoints and the history."""
        last = _copied(self.learner.mean.state_dict())
        save_detector(folder / BEST, self._best_state, self._meta(best_row(self.history)))
        save_detector(folder / LAST, last, self._meta(self.history[-1]))
        write_history(folder / HISTORY, self.history)

    def _meta(self, row: EpochRow) -> CheckpointMeta:
        return CheckpointMeta(
            model=self._params.model,
            preprocess=self._preprocess,
            epoch=int(row["epoch"]),
            metric=float(row["val_product"]),
            quality=self._quality.to_dict(),
        )


def _loader(dataset: TrainDataset, batches: BatchShare) -> DataLoader[Batch]:
    available = worker_count() // processes_here()
    workers = available if available > 1 else 0
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=init_worker,
        persistent_workers=workers > 0,
        # The default generator is torch's own, from which it would draw as often as it has workers.
        generator=torch.Generator(),
    )


def _mixed_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch's dropout per process; rank 0 gets that of a single-process run.

    SeedSequence ignores a trailing 0.
    """
    sequence = np.random.SeedSequence((seed, epoch, rank()))
    return int(sequence.generate_state(1, np.uint32)[0])


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
