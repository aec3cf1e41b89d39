"""Evaluate on the test split: slices, intervals, probes, ladders, plots, a page and images.

deps: data/checkpoints/best_model.pt, data/seam/trees.npz, data/calibration.json,
data/zarr/test.zarr, data/splits/{train,val}.csv,
data/manifests/{skipped_faces,skipped_videos,tags}.csv, metrics/audit.json
params: data, evaluate, export.opset, train.threads
outs: metrics/test.json, metrics/test_report.json, plots/evaluate, data/reports
"""

from pathlib import Path

from pipeline.core.audit import read_audit
from pipeline.core.files import write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.training.calibration.fit import read_calibration
from pipeline.training.evaluation.evaluate import evaluate, headline_lines, read_surroundings
from pipeline.training.evaluation.probes import MeasuredSplit
from pipeline.training.evaluation.report import write_reports
from pipeline.training.scoring.plots import write_plots
from pipeline.training.scoring.served import load_scorer
from pipeline.training.store.reader import open_zarr


def main() -> None:
    params = load_params()
    calibration = read_calibration(Path("data/calibration.json"))
    scorer = load_scorer(
        Path("data/checkpoints/best_model.pt"), Path("data/seam/trees.npz"), params
    )
    split = MeasuredSplit(scorer, open_zarr(Path("data/zarr/test.zarr")), calibration.decision)
    around = read_surroundings(Path("data"), params.data.root)
    evaluation = evaluate(split, calibration, around, params.evaluate)
    write_json(Path("metrics/test.json"), evaluation.report.summary)
    write_json(Path("metrics/test_report.json"), evaluation.report.to_json())
    write_plots(Path("plots/evaluate"), evaluation.faces, evaluation.report.ladder.aucs)
    audit = read_audit(Path("metrics/audit.json"))
    write_reports(Path("data/reports"), evaluation, split, calibration, around.data_root, audit)
    for line in headline_lines(evaluation.report.headline):
        print(f"evaluate: {line}")
    for line in evaluation.report.warnings:
        print(f"evaluate: warning: {line}")


if __name__ == "__main__":
    run_stage(main)
