"""Fit temperature, learned fusion and thresholds on the validation split.

It also publishes DVCLive's plots of the training, because stage train has no outputs in Git: DVC
would not take a training run from its run cache then.

deps: data/checkpoints/best_model.pt, data/seam/trees.npz, data/zarr/val.zarr, metrics/train
params: calibrate, export.opset, fusion, train.threads
outs: data/calibration.json, metrics/val.json, metrics/val_report.json, plots/calibrate, plots/train
"""

from pathlib import Path

from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.training.calibration.fit import calibrate
from pipeline.training.calibration.report import (
    summary_lines,
    sweep_rows,
    val_summary,
    validation_report,
)
from pipeline.training.scoring.copies import score_copies
from pipeline.training.scoring.plots import copy_plots, live_plots, log_table
from pipeline.training.scoring.served import load_scorer
from pipeline.training.store.reader import open_zarr, set_digest


def main() -> None:
    params = load_params()
    scorer = load_scorer(
        Path("data/checkpoints/best_model.pt"), Path("data/seam/trees.npz"), params
    )
    store = open_zarr(Path("data/zarr/val.zarr"))
    faces = score_copies(scorer, store)
    calibration = calibrate(faces, params.fusion, params.calibrate)
    report = validation_report(faces, calibration, params.calibrate)
    sweep = sweep_rows(faces, calibration.decision, params.calibrate.sweep_steps)
    write_json(Path("data/calibration.json"), calibration.model_dump())
    summary = val_summary(report, calibration.decision, set_digest(store))
    write_json(Path("metrics/val.json"), summary)
    write_json(Path("metrics/val_report.json"), report)
    with live_plots(Path("plots/calibrate")) as live:
        log_table(live, "threshold_sweep", sweep)
    copy_plots(Path("metrics/train"), Path("plots/train"))
    for line in summary_lines(faces, calibration):
        print(f"calibrate: {line}")
    for line in report["warnings"]:
        print(f"calibrate: warning: {line}")


if __name__ == "__main__":
    run_stage(main)
