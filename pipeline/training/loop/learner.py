"""Training steps of a detector, with its optimizer and the running mean of its weights."""

from typing import Any

import torch
from lightning_fabric import Fabric
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from pipeline.runtime.sections import TrainParams
from pipeline.training.loop.losses import Balance, known_counts, multitask_loss
from pipeline.training.loop.parallel import with_shared_statistics
from pipeline.training.loop.schedule import FROM_SCRATCH, Phase, parameter_groups, set_phase
from pipeline.training.network.model import Detector

Batch = dict[str, Tensor]


class Learner:
    """Updates a detector's weights; several processes take each step together and stay equal.

    detector: with the weights being trained. mean: the detector with the exponential moving average
    of these weights, which is what checkpoints contain.
    """

    def __init__(
        self,
        detector: Detector,
        fabric: Fabric,
        params: TrainParams,
        balance: Balance,
        *,
        random_weights: bool,
    ) -> None:
        self._fabric, self._params, self._balance = fabric, params, balance
        self.detector = with_shared_statistics(detector, fabric)
        self._phase = FROM_SCRATCH
        groups = parameter_groups(self.detector, params, random_weights=random_weights)
        self._model = fabric.setup_module(self.detector)
        optimizer = torch.optim.AdamW(groups, lr=params.lr)
        self._optimizer: Any = fabric.setup_optimizers(optimizer)
        self._ema = ModelEmaV3(self.detector, decay=params.ema_decay, use_warmup=True)
        self.mean: Detector = self._ema.module

    def start_phase(self, phase: Phase) -> None:
        """Enable gradients for the parameters that the phase trains."""
        if phase != self._phase:
            set_phase(self.detector, phase)
            # DDP exchanges gradients only of parameters that are trainable when it is set up.
            self._model = self._fabric.setup_module(self.detector)
            self._phase = phase

    def backward(
        self, batch: Batch, in_step: int = 1, *, is_last: bool = True
    ) -> dict[str, Tensor]:
        """Add the gradients of a batch, one of `in_step` batches per step; return its losses.

        With several processes, each passes its part of the batch, and the mean over them is the
        batch's loss. is_last: whether this batch ends the step, so gradients are exchanged.
        """
        batch = self._fabric.to_device(batch)
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        counts: Any = self._fabric.all_reduce(known_counts(batch), reduce_op="mean")
        with self._fabric.no_backward_sync(self._model, enabled=not is_last):
            outputs = self._model(images)
            parts = multitask_loss(outputs, batch, self._params, self._balance, counts)
            self._fabric.backward(parts["total"] / in_step)
        return parts

    def update(self, step: int, lr: float) -> None:
        """Update the weights and their running mean, and clear the gradients.

        step: index in the whole run. lr: learning rate of the new layers; each parameter group
        scales it by its lr_scale.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        self._fabric.clip_gradients(
            self._model,
            self._optimizer,
            max_norm=self._params.clip_norm,
            error_if_nonfinite=False,
        )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._ema.update(self.detector, step=step)

    def state(self) -> dict[str, Any]:
        """Everything that determines later steps."""
        return {
            "model": self.detector.state_dict(),
            "ema": self.mean.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a value of `state()`."""
        self.detector.load_state_dict(state["model"])
        self.mean.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        _match_layouts(self._optimizer)


def _match_layouts(optimizer: Any) -> None:
    """Give loaded moments the memory layout of their weights, as in an uninterrupted run.

    A different layout changes the order of summation, and so the last bits.
    """
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == weight.shape:
                moments[name] = torch.empty_like(weight).copy_(value)
