"""One model trained by several processes: torchrun starts them, Fabric and DDP connect them.

`fabric run` is a torchrun, too. How many there are is a matter of the machines, so it comes from
the launcher's environment. A run without a launcher is one process, for which all this changes
nothing.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from timm.layers.norm_act import convert_sync_batchnorm
from torch.utils.data import Sampler

from pipeline.runtime.errors import ParamsError
from pipeline.training.network.hardware import device_name
from pipeline.training.network.model import Detector
from pipeline.training.pairs.sampler import Item, PairSampler

Log = Callable[[str], None]


def process_count() -> int:
    """Processes of the run, on all machines together."""
    return TorchElasticEnvironment().world_size() if TorchElasticEnvironment.detect() else 1


def processes_here() -> int:
    """Processes of the run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if TorchElasticEnvironment.detect() else 1


def rank() -> int:
    """This process's number among all, from 0."""
    return TorchElasticEnvironment().global_rank() if TorchElasticEnvironment.detect() else 0


def is_first() -> bool:
    """Whether this is the process that validates, writes and speaks."""
    return rank() == 0


def from_first(log: Log) -> Log:
    """The log of the first process; the others' lines are dropped."""
    return log if is_first() else lambda _: None


def connected_fabric(precision: Any) -> Fabric:
    """Fabric over all processes of the run: DDP by NCCL on GPUs, by gloo on CPUs."""
    fabric = Fabric(
        accelerator=device_name(),
        strategy="ddp" if process_count() > 1 else "auto",
        devices=processes_here(),
        num_nodes=process_count() // processes_here(),
        precision=precision,
    )
    # `fabric run`, which sets this, has launched it already and allows no second time.
    if "LT_CLI_USED" not in os.environ:
        fabric.launch()
    return fabric


def with_shared_statistics(detector: Detector, fabric: Fabric) -> Detector:
    """Batch norm over the batches of all GPUs, which is torch's only form of it.

    On CPUs every process normalises by its own batch; the first one's running statistics are kept.
    """
    if fabric.world_size == 1 or fabric.device.type != "cuda":
        return detector
    shared: Detector = convert_sync_batchnorm(detector)  # type: ignore[no-untyped-call]
    return shared


class BatchShare(Sampler[list[Item]]):
    """This process's pairs of every batch of the whole run, cut as evenly as pairs can be.

    Raises ParamsError when the epoch's last batch has fewer pairs than there are processes: one
    without an image would keep the others waiting for its gradients.
    """

    def __init__(self, batches: PairSampler, rank: int, processes: int) -> None:
        if batches.last_batch_pairs < processes:
            raise ParamsError(
                "train.pairs_per_epoch: the epoch's last batch should have a pair for each of the"
                f" {processes} processes (got {batches.last_batch_pairs}); take a multiple of"
                f" {processes}"
            )
        self._batches, self._rank, self._processes = batches, rank, processes

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Item]]:
        for batch in self._batches:
            pairs = len(batch) // 2
            start, end = (pairs * n // self._processes for n in (self._rank, self._rank + 1))
            yield batch[2 * start : 2 * end]
