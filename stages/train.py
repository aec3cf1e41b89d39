"""Train the detector on pairs of real faces and their swaps.

deps: data/zarr/{train,val}.zarr, data/manifests/quality.json
params: preprocess, crop_faces, model, pseudo_swap, augment, train, fusion, evaluate.compressed_jpeg
outs: data/checkpoints, metrics/train
"""

import json
from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.runtime.code import code_digest
from pipeline.runtime.params import load_params
from pipeline.training.loop.history import best_row
from pipeline.training.loop.parallel import from_first
from pipeline.training.loop.resume import ResumeFile, fingerprint
from pipeline.training.loop.train import TrainingInputs, train, training_params
from pipeline.training.store.reader import open_zarr
from pipeline.views.quality import QualityThresholds

TRAIN = Path("data/zarr/train.zarr")
VAL = Path("data/zarr/val.zarr")
QUALITY = Path("data/manifests/quality.json")


def main() -> None:
    params = load_params()
    thresholds = QualityThresholds.from_dict(json.loads(QUALITY.read_text(encoding="utf-8")))
    inputs = TrainingInputs(open_zarr(TRAIN), open_zarr(VAL), thresholds)
    log = from_first(lambda line: print(f"train: {line}", flush=True))
    run = fingerprint(training_params(params), [TRAIN, VAL, QUALITY], code_digest("train"))
    history = train(
        params,
        inputs,
        checkpoints=Path("data/checkpoints"),
        live_dir=Path("metrics/train"),
        resume=ResumeFile(run),
        log=log,
    )
    best = best_row(history)
    log(f"best is epoch {best['epoch']}, product {best['val_product']:.4f}")


if __name__ == "__main__":
    run_stage(main)
