"""A folder in which torchrun can run stage `train` on a small drawn split."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import psutil
import yaml

from pipeline.training.store.packing import pack
from pipeline.views.quality import fit_quality, measure_quality
from tests.support.imports import ROOT
from tests.support.packed_split import PREPROCESS, drawn_params, packed_split, write_split
from tests.support.service_process import free_port

LIMIT_S = 300

# Small enough to train in seconds. No batch norm, which processes synchronise on GPUs only.
SECTIONS: dict[str, dict[str, Any]] = {
    "model": {
        "backbone": "convnext_atto",
        "weights": "none",
        "frequency": "off",
        "views": ["1.1x", "1.5x", "2x"],
    },
    "train": {
        "epochs": 4,
        "pairs_per_epoch": 4,
        "batch_size": 4,
        "threads": 1,
        "patience": 9,
        "val_faces": 4,
        "precision": "32-true",
    },
}


def train_folder(root: Path, *, model: dict[str, Any] | None = None, **train: Any) -> Path:
    """Write params.yaml and the inputs of stage `train` to root. model, train: changed params."""
    learn = packed_split(root / "train", people=3, frames=2)
    for name, options in (("train", {"people": 3}), ("val", {"people": 2, "first_person": 10})):
        packed = root / f"data/zarr/{name}.zarr"
        pack(write_split(root / name, **options), packed, PREPROCESS, 8)
    measures = [measure_quality(learn.context(face), learn.box(face)) for face in range(4)]
    quality = root / "data/manifests/quality.json"
    quality.parent.mkdir(parents=True)
    quality.write_text(json.dumps(fit_quality(measures, (0.25, 0.05)).to_dict()))
    write_params(root, model=model, **train)
    return root


def write_params(root: Path, *, model: dict[str, Any] | None = None, **train: Any) -> None:
    """Write the repository's params.yaml, changed to a small run and by these values."""
    params = drawn_params(model=SECTIONS["model"] | (model or {}), train=SECTIONS["train"] | train)
    (root / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))


@contextmanager
def started(
    folder: Path, processes: int, *command: str, options: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m command` in a folder, as several processes by torchrun; all write to one pipe.

    options: of torchrun, instead of a free port of this machine. All processes are ended after
    LIMIT_S and at the end of the block.
    """
    launcher = ["torch.distributed.run", f"--nproc_per_node={processes}", *(options or local())]
    launcher += ["-m"]
    run = subprocess.Popen(
        [sys.executable, "-m", *(launcher if processes > 1 or options else []), *command],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.stdout is not None
    limit = Timer(LIMIT_S, end, [run])
    limit.start()
    try:
        yield run
    finally:
        limit.cancel()
        end(run)
        run.stdout.close()
        run.wait()


def local() -> tuple[str, ...]:
    return ("--master_addr=127.0.0.1", f"--master_port={free_port()}")


def end(run: subprocess.Popen[str]) -> None:
    """Kill a launcher that is still running, and all processes that it started."""
    if run.poll() is None:
        launcher = psutil.Process(run.pid)
        for process in [launcher, *launcher.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "INSWAPPER_WORKERS": "1",
        "INSWAPPER_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }
