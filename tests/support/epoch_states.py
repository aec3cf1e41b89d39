"""Train as stage `train` does, and save the weights of every epoch.

`python -m tests.support.epoch_states FOLDER`

Writes FOLDER/RANK.pt: a list of (row of history, weights).
"""

import copy
import sys
from pathlib import Path

import torch

from pipeline.runtime.params import load_params
from pipeline.training.loop.parallel import rank
from pipeline.training.loop.train import Run
from pipeline.training.network.hardware import same_bits
from tests.bench.stepper import stored_inputs


def main(folder: Path) -> None:
    with same_bits(threads=1):
        run = Run(load_params(), stored_inputs(), lambda _: None)
        states = [(row, copy.deepcopy(run.state()["model"])) for row in run.epochs()]
    torch.save(states, folder / f"{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
