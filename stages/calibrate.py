"""Fit temperature, learned fusion and thresholds on validation.

deps: data/checkpoints/best_model.pt, data/zarr/val.zarr   params: calibrate, fusion, train.threads
outs: data/calibration.json, metrics/val.json, plots/threshold_sweep.csv
"""

from pathlib import Path

import torch

from pipeline.cli import run_stage
from pipeline.jsonfile import write_json
from pipeline.params import load_params
from pipeline.training.calibration import calibrate, score_validation, sweep_rows, validation_report
from pipeline.training.checkpoint import load_detector
from pipeline.training.plots import write_table
from pipeline.training.store import open_zarr


def main() -> None:
    params = load_params()
    torch.set_num_threads(params.train.threads)
    model, meta = load_detector(Path("data/checkpoints/best_model.pt"))
    store = open_zarr(Path("data/zarr/val.zarr"))
    faces = score_validation(model, store, meta.preprocess)
    calibration = calibrate(faces, params.fusion, params.calibrate)
    report = validation_report(faces, calibration, params.calibrate)
    sweep = sweep_rows(faces, calibration.decision, params.calibrate.sweep_steps)
    write_json(Path("data/calibration.json"), calibration.model_dump())
    write_json(Path("metrics/val.json"), report)
    write_table(Path("plots/threshold_sweep.csv"), sweep)
    limits = calibration.decision.thresholds
    print(
        f"calibrate: {len(faces.labels)} faces, temperature {calibration.decision.temperature:.3g}"
    )
    print(
        f"calibrate: fake from {limits.fake_from:.4f}, suspicious from {limits.suspicious_from:.4f}"
    )


if __name__ == "__main__":
    run_stage(main)
