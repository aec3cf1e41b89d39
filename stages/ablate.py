"""Measure the effect of each component: `python -m stages.ablate [--genuine LABELS.csv] [options]`.

Reads data/zarr/{train,val}.zarr and params.yaml, writes metrics/ablation.json. Finished runs are
stored in .resume/ablation and are not repeated; delete that folder after a change of the code. Not
a stage of dvc.yaml, because it takes hours and evaluating on genuine swaps is a deliberate choice.
"""

import argparse
import json
from pathlib import Path

from pipeline.core.files import write_json
from pipeline.faces.load import load_detector
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.runtime.workers import worker_count
from pipeline.training.loop.resume import RESUME_DIR
from pipeline.training.loop.train import TrainingInputs
from pipeline.training.review.ablation import NETWORKS, TREES, Budget, SavedRuns, ablate, gather
from pipeline.training.review.genuine_set import read_genuine
from pipeline.training.store.reader import open_zarr
from pipeline.views.quality import QualityThresholds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.ablate", description=__doc__)
    parser.add_argument(
        "--genuine", type=Path, help="CSV with the columns image_path and label (default: none)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=500, help="pairs per epoch")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seam-pairs", type=int, default=1000, help="pairs to fit the trees on")
    parser.add_argument("--val-faces", type=int, default=160, help="faces to evaluate a run on")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--trees", nargs="*", default=list(TREES), choices=list(TREES))
    parser.add_argument("--out", type=Path, default=Path("metrics/ablation.json"))
    args = parser.parse_args()
    params = load_params()
    quality = json.loads(Path("data/manifests/quality.json").read_text(encoding="utf-8"))
    train, val = (open_zarr(Path(f"data/zarr/{name}.zarr")) for name in ("train", "val"))
    genuine = read_genuine(args.genuine, load_detector("insightface")) if args.genuine else None
    budget = Budget(
        tuple(args.seeds),
        args.epochs,
        args.pairs,
        args.batch_size,
        args.seam_pairs,
        args.val_faces,
        tuple(args.networks),
        tuple(args.trees),
    )
    inputs = TrainingInputs(train, val, QualityThresholds.from_dict(quality))
    material = gather(val, genuine, budget.val_faces)
    report = ablate(
        params,
        inputs,
        material,
        budget,
        SavedRuns(RESUME_DIR / "ablation", params, budget),
        worker_count(),
        log=lambda line: print(f"ablate: {line}", flush=True),
    )
    write_json(args.out, report)


if __name__ == "__main__":
    run_stage(main)
