"""Training of one model by several processes: torchrun starts them, Fabric and DDP connect them.

`fabric run` also uses torchrun. The number of processes depends on the machines, so it comes from
the launcher's environment. Without a launcher there is one process, and this module changes
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
    """Number of processes of the run, on all machines."""
    return TorchElasticEnvironment().world_size() if TorchElasticEnvironment.detect() else 1


def processes_here() -> int:
    """Number of processes of the run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if TorchElasticEnvironment.detect() else 1


def rank() -> int:
    """Index of this process among all, from 0."""
    return TorchElasticEnvironment().global_rank() if TorchElasticEnvironment.detect() else 0


def is_first() -> bool:
    """Whether this is the process that validates, writes and logs."""
    return rank() == 0


def from_first(log: Log) -> Log:
    """Log only in the first process; lines of the others are dropped."""
    return log if is_first() else lambda _: None


def connected_fabric(precision: Any) -> Fabric:
    """Fabric over all processes of the run, with DDP by NCCL on GPUs and by gloo on CPUs."""
    fabric = Fabric(
        accelerator=device_name(),
        strategy="ddp" if process_count() > 1 else "auto",
        devices=processes_here(),
        num_nodes=process_count() // processes_here(),
        precision=precision,
    )
    # `fabric run` sets this variable; it has launched Fabric already and forbids a second launch.
    if "LT_CLI_USED" not in os.environ:
        fabric.launch()
    return fabric


def with_shared_statistics(detector: Detector, fabric: Fabric) -> Detector:
    """Synchronise batch norm over the batches of all GPUs.

    torch supports this on GPUs only. On CPUs every process normalises by its own batch, and the
    running statistics of the first process are saved.
    """
    if fabric.world_size == 1 or fabric.device.type != "cuda":
        return detector
    shared: Detector = convert_sync_batchnorm(detector)  # type: ignore[no-untyped-call]
    return shared


class BatchShare(Sampler[list[Item]]):
    """Samples this process's part of every batch of the run, split by pairs as evenly as possible.

    Raises ParamsError if the epoch's last batch has fewer pairs than there are processes, because
    the others would wait for the gradients of a process without images.
    """

    def __init__(self, batches: PairSampler, rank: int, processes: int) -> None:
        if batches.last_batch_pairs < processes:
            raise ParamsError(
                "train.pairs_per_epoch: the epoch's last batch needs at least one pair for each of"
                f" the {processes} processes (got {batches.last_batch_pairs}); use a multiple of"
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
