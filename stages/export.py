"""Write the bundle that the service loads, after comparing its outputs with torch's.

deps: data/checkpoints/best_model.pt, data/seam/trees.npz, data/calibration.json,
metrics/{audit,test_report}.json, data/zarr/val.zarr, data/splits/{train,val,test}.csv
params: all   outs: data/export
"""

from pathlib import Path

import torch

from pipeline.core.audit import read_audit
from pipeline.runtime.cli import run_stage
from pipeline.runtime.code import code_digest
from pipeline.runtime.params import load_params
from pipeline.seam.trees import read_trees
from pipeline.training.calibration.fit import read_calibration
from pipeline.training.evaluation.schema import read_report
from pipeline.training.export.writer import Trained, provenance_of, write_bundle
from pipeline.training.network.checkpoint import load_detector
from pipeline.training.store.reader import open_zarr

CHECKPOINT = Path("data/checkpoints/best_model.pt")
TREES = Path("data/seam/trees.npz")
CALIBRATION = Path("data/calibration.json")
REPORT = Path("metrics/test_report.json")
AUDIT = Path("metrics/audit.json")
SPLITS = {
    f"splits/{name}.csv": Path(f"data/splits/{name}.csv") for name in ("train", "val", "test")
}


def main() -> None:
    params = load_params()
    torch.set_num_threads(params.train.threads)
    model, meta = load_detector(CHECKPOINT)
    store = open_zarr(Path("data/zarr/val.zarr"))
    report, audit = read_report(REPORT), read_audit(AUDIT)
    decision = read_calibration(CALIBRATION).decision
    trained = Trained(model, meta, read_trees(TREES), decision, store, report, audit)
    data = {"best_model.pt": CHECKPOINT, "trees.npz": TREES, "calibration.json": CALIBRATION}
    data |= SPLITS
    provenance = provenance_of(params.data.root, meta.epoch, params, code_digest("export"), data)
    spec = write_bundle(Path("data/export"), trained, params, provenance)
    print(f"export: version {spec.version}, {', '.join(sorted(spec.files))}")
    print(f"export: int8 {spec.int8.reason}")


if __name__ == "__main__":
    run_stage(main)
