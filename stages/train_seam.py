"""Fit the boosted trees on seam features of pairs.

deps: data/zarr/{train,val}.zarr
params: seam, pseudo_swap, augment, crop_faces, model.views, preprocess,
train.{seed,source_power,tight_pairs_frac}, calibrate.min_surroundings_frac
outs: data/seam/trees.npz, metrics/seam.json, metrics/seam_report.json
"""

from pathlib import Path

from pipeline.core.files import replacing, write_json
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.runtime.workers import worker_count
from pipeline.training.store.reader import open_zarr, set_digest
from pipeline.training.trees.fit import (
    fit_trees,
    pair_features,
    seam_pairs,
    seam_report,
    seam_summary,
)

TREES = Path("data/seam/trees.npz")


def main() -> None:
    params = load_params()
    train, val = open_zarr(Path("data/zarr/train.zarr")), open_zarr(Path("data/zarr/val.zarr"))
    pairs = seam_pairs(train, params)
    print(f"train_seam: {pairs.summary}", flush=True)
    features, labels = pair_features(pairs, train, params, worker_count())
    print(f"train_seam: {len(labels) // 2} pairs, {features.shape[1]} features each")
    trees = fit_trees(features, labels, params.seam)
    with replacing(TREES) as temporary:
        temporary.write_bytes(trees.to_bytes())
    report = seam_report(trees, val, params.calibrate.min_surroundings_frac)
    write_json(Path("metrics/seam.json"), seam_summary(report, set_digest(val)))
    write_json(Path("metrics/seam_report.json"), report)
    print(f"train_seam: validation AUC of the trees alone {report['all']['auc']:.4f}")


if __name__ == "__main__":
    run_stage(main)
