"""Fit temperature, learned fusion and thresholds on the validation split.

deps: data/checkpoints/best_model.pt, data/seam/trees.npz, data/zarr/val.zarr
params: calibrate, export.opset, fusion, train.threads
outs: data/calibration.json, metrics/val.json, plots/threshold_sweep.csv
"""

from pathlib import Path

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.training.calibration.fit import calibrate
from pipeline.training.calibration.report import summary_lines, sweep_rows, validation_report
from pipeline.training.scoring.copies import score_copies
from pipeline.training.scoring.plots import write_table
from pipeline.training.scoring.served import load_scorer
from pipeline.training.store.reader import open_zarr


def main() -> None:
    params = load_params()
    scorer = load_scorer(
        Path("data/checkpoints/best_model.pt"), Path("data/seam/trees.npz"), params
    )
    faces = score_copies(scorer, open_zarr(Path("data/zarr/val.zarr")))
    calibration = calibrate(faces, params.fusion, params.calibrate)
    report = validation_report(faces, calibration, params.calibrate)
    sweep = sweep_rows(faces, calibration.decision, params.calibrate.sweep_steps)
    write_json(Path("data/calibration.json"), calibration.model_dump())
    write_json(Path("metrics/val.json"), report)
    write_table(Path("plots/threshold_sweep.csv"), sweep)
    for line in summary_lines(faces, calibration):
        print(f"calibrate: {line}")


if __name__ == "__main__":
    run_stage(main)
