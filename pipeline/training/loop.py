"""The training run: epochs over pairs, EMA, validation, the best checkpoint, resumption."""

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from dvclive.live import Live
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pipeline.cli import worker_count
from pipeline.errors import TrainingError
from pipeline.params import Params
from pipeline.quality import QualityThresholds
from pipeline.training.checkpoint import CheckpointMeta, save_detector
from pipeline.training.dataset import (
    TrainDataset,
    face_balance,
    init_worker,
    trained_preprocess,
)
from pipeline.training.hardware import choose_precision, device_name, keep_freed_memory, same_bits
from pipeline.training.losses import class_balance, multitask_loss
from pipeline.training.model import Detector, build_model
from pipeline.training.phases import Phase, parameter_groups, phase_of, set_phase, train_mode
from pipeline.training.resume import ResumeFile
from pipeline.training.sampler import PairSampler
from pipeline.training.schedule import lr_factor
from pipeline.training.store import FaceStore
from pipeline.training.validation import Validator
from pipeline.training.weights import load_pretrained

# One epoch in history.csv.
Row = dict[str, Any]
Batch = dict[str, Tensor]
Log = Callable[[str], None]

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
class Inputs:
    """What a run learns from. quality: thresholds for the labels after degradation."""

    train: FaceStore
    val: FaceStore
    quality: QualityThresholds


def training_params(params: Params) -> dict[str, Any]:
    """Every parameter that a checkpoint follows from, as plain values."""
    return {
        **params.model_dump(include=set(TRAINING_SECTIONS)),
        "compressed_jpeg": params.evaluate.compressed_jpeg,
        "min_surroundings_frac": params.calibrate.min_surroundings_frac,
    }


def train(
    params: Params,
    inputs: Inputs,
    checkpoints: Path,
    live_dir: Path,
    resume: ResumeFile,
    log: Log = print,
) -> list[Row]:
    """Train a detector; write best_model.pt, last_epoch.pt, history.csv and DVCLive's files.

    The same inputs give the same bytes on the same kind of processor, interrupted or not, with any
    number of loader processes. Returns the history, a row an epoch.
    Raises WeightsError, ManifestError, ResumeError or TrainingError.
    """
    keep_freed_memory()
    with same_bits(params.train.threads):
        run = Run(params, inputs, log)
        state = resume.load()
        if state is not None:
            run.restore(state)
            log(f"resumed after epoch {len(run.history)} ({resume.path})")
        elif resume.others():
            log(f"{resume.others()[0]} is of a run with other params, data or code; starting anew")
        with Live(str(live_dir), dvcyaml=None, save_dvc_exp=False) as live:
            for row in run.history:
                _log_live(live, row)
            for row in run.epochs():
                _log_live(live, row)
                resume.save(run.state())
                log(_summary(row, params.train.epochs))
        run.save(checkpoints)
    resume.delete()
    return run.history


class Run:
    """A model in training. history: a row for each finished epoch."""

    def __init__(self, params: Params, inputs: Inputs, log: Log) -> None:
        self._params, self._log = params, log
        self._quality = inputs.quality
        self._preprocess = trained_preprocess(params)
        self._random_weights = params.model.weights == "none"
        self._sampler = PairSampler(
            inputs.train.faces,
            pseudo_frac=params.pseudo_swap.frac,
            pairs=params.train.pairs_per_epoch,
            batch_size=params.train.batch_size,
            seed=params.train.seed,
            balance=face_balance(inputs.train, params),
        )
        dataset = TrainDataset(inputs.train, params, inputs.quality)
        self._loader = _loader(dataset, self._sampler)
        self._balance = class_balance(
            inputs.train.table, self._sampler.pseudo_frac, params.pseudo_swap.hull_frac
        )
        self._validator = Validator(inputs.val, params, self._balance)
        self._set_up(self._build())
        self.history: list[Row] = []
        self._best_state: dict[str, Tensor] = {}

    def _build(self) -> Detector:
        torch.manual_seed(self._params.train.seed)
        model = build_model(self._params.model, self._preprocess)
        source = load_pretrained(model, self._params.model, self._preprocess.size_px)
        self._log(f"{self._params.model.backbone} with {source}")
        if self._random_weights:
            self._log("random weights: no frozen phase, everything learns from the first epoch")
        return model.to(memory_format=torch.channels_last)

    def _set_up(self, detector: Detector) -> None:
        params = self._params.train
        precision: Any = choose_precision(params.precision)
        self._fabric = Fabric(accelerator=device_name(), devices=1, precision=precision)
        self._log(f"{self._fabric.device}, {precision}, {params.threads} threads")
        groups = parameter_groups(detector, params, random_weights=self._random_weights)
        self._detector = detector
        self._model, self._optimizer = self._fabric.setup(
            detector, torch.optim.AdamW(groups, lr=params.lr)
        )
        self._ema = ModelEmaV3(detector, decay=params.ema_decay, use_warmup=True)

    def epochs(self) -> Iterator[Row]:
        """Train the epochs that are left, yielding each one's row of history."""
        params = self._params.train
        while len(self.history) < params.epochs:
            if self._epochs_since_best() >= params.patience:
                self._log(f"no better epoch in {params.patience}: stopped early")
                return
            epoch = len(self.history) + 1
            yield self._epoch(epoch, phase_of(epoch, params, random_weights=self._random_weights))

    def _epoch(self, epoch: int, phase: Phase) -> Row:
        # All of an epoch's randomness follows from its number, so an interrupted one is run again.
        torch.manual_seed(_mixed_seed(self._params.train.seed, epoch))
        set_phase(self._detector, phase)
        losses = self._train_epoch(epoch, phase)
        if not all(math.isfinite(value) for value in losses.values()):
            raise TrainingError(f"epoch {epoch}: a loss is not finite {losses}; lower train.lr")
        values = self._validator.run(self._ema.module.eval())
        lr = self._lr(epoch * self._steps_per_epoch() - 1, phase)
        row: Row = {"epoch": epoch, "phase": phase.name, "lr": lr, **losses, **values}
        if not self.history or _merit(row) > _merit(self._best()):
            self._best_state = _copied(self._ema.module.state_dict())
        self.history.append(row)
        return row

    def _train_epoch(self, epoch: int, phase: Phase) -> dict[str, float]:
        """One pass over the loader; returns the mean of each loss over the batches."""
        train_mode(self._detector)
        self._sampler.set_epoch(epoch)
        accumulate, batches = self._params.train.accumulate, len(self._sampler)
        step = (epoch - 1) * self._steps_per_epoch()
        sums: dict[str, Tensor] = {}
        for index, batch in enumerate(
            tqdm(self._loader, f"epoch {epoch}", leave=False, disable=None)
        ):
            in_step = min(accumulate, batches - index // accumulate * accumulate)
            parts = self.backward(batch, in_step)
            if (index + 1) % accumulate == 0 or index + 1 == batches:
                self.update(step + index // accumulate, phase)
            for name, value in parts.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().cpu()
        return {f"train_{name}": float(value) / batches for name, value in sums.items()}

    def backward(self, batch: Batch, in_step: int = 1) -> dict[str, Tensor]:
        """Add a batch's gradients, one of `in_step` in a step; returns its losses."""
        batch = self._fabric.to_device(batch)
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        parts = multitask_loss(self._model(images), batch, self._params.train, self._balance)
        self._fabric.backward(parts["total"] / in_step)
        return parts

    def update(self, step: int, phase: Phase) -> None:
        """Move the weights and their mean, and forget the gradients. step: of the whole run."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr(step, phase) * group["lr_scale"]
        self._fabric.clip_gradients(
            self._model,
            self._optimizer,
            max_norm=self._params.train.clip_norm,
            error_if_nonfinite=False,
        )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._ema.update(self._detector, step=step)

    def _steps_per_epoch(self) -> int:
        return -(-len(self._sampler) // self._params.train.accumulate)

    def _lr(self, step: int, phase: Phase) -> float:
        """Learning rate of the new parts at a step of the whole run, counted from 0."""
        params, steps = self._params.train, self._steps_per_epoch()
        warmup = round(params.warmup_epochs * steps)
        factor = lr_factor(step, params.epochs * steps, warmup, params.min_lr_frac)
        return params.lr * phase.lr_scale * factor

    def _best(self) -> Row:
        return best_row(self.history)

    def _epochs_since_best(self) -> int:
        return len(self.history) - int(self._best()["epoch"]) if self.history else 0

    def state(self) -> dict[str, Any]:
        """All that later epochs follow from: tensors and plain values."""
        return {
            "model": self._detector.state_dict(),
            "ema": self._ema.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best_state,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self._detector.load_state_dict(state["model"])
        self._ema.module.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        _match_layouts(self._optimizer)
        self._best_state, self.history = state["best"], state["history"]

    def save(self, folder: Path) -> None:
        """Write the checkpoints and the history."""
        last = _copied(self._ema.module.state_dict())
        save_detector(folder / BEST, self._best_state, self._meta(self._best()))
        save_detector(folder / LAST, last, self._meta(self.history[-1]))
        write_history(folder / HISTORY, self.history)

    def _meta(self, row: Row) -> CheckpointMeta:
        return CheckpointMeta(
            model=self._params.model,
            preprocess=self._preprocess,
            epoch=int(row["epoch"]),
            metric=float(row["val_product"]),
            quality=self._quality.to_dict(),
        )


def write_history(path: Path, rows: list[Row]) -> None:
    """A CSV with one row an epoch, floats as %.6g."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(
        [f"{value:.6g}" if isinstance(value, float) else value for value in row.values()]
        for row in rows
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(stream.getvalue(), encoding="utf-8")
    temporary.replace(path)


def _loader(dataset: TrainDataset, sampler: PairSampler) -> DataLoader[Batch]:
    workers = worker_count() if worker_count() > 1 else 0
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        worker_init_fn=init_worker,
        persistent_workers=workers > 0,
        # By default it draws from torch's own generator, as often as its processes need.
        generator=torch.Generator(),
    )


def best_row(history: list[Row]) -> Row:
    """The epoch with the best product metric, then the lowest validation loss, then the first."""
    return max(history, key=_merit)


def _merit(row: Row) -> tuple[float, float]:
    return float(row["val_product"]), -float(row["val_loss"])


def _mixed_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint32)[0])


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _match_layouts(optimizer: Any) -> None:
    """Give loaded moments the memory layout of their weights, as an uninterrupted run has them.

    Sums of another layout are taken in another order, which changes the last bits.
    """
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == weight.shape:
                moments[name] = torch.empty_like(weight).copy_(value)


def _summary(row: Row, epochs: int) -> str:
    return (
        f"epoch {row['epoch']:2d}/{epochs}  {row['phase']}  loss {row['train_total']:.4f}"
        f"  val loss {row['val_loss']:.4f}  auc {row['val_auc']:.4f}"
        f"  product {row['val_product']:.4f}  lr {row['lr']:.2e}"
    )


def _log_live(live: Live, row: Row) -> None:
    """One step of DVCLive, numbered as the epoch; names become folders: train/total, val/auc."""
    live.step = row["epoch"]
    for name, value in row.items():
        if isinstance(value, float):
            live.log_metric(name.replace("_", "/", 1), float(f"{value:.6g}"))
    live.make_summary()  # type: ignore[no-untyped-call]
