"""Cut one split's crops and pack them with contexts and masks; `python -m stages.pack_zarr train`.

deps: data/splits/{split}.csv, data/crops, data/frames, ${data.root}/images
params: pack_zarr, preprocess   outs: data/zarr/{split}.zarr
"""

import sys
from pathlib import Path

from pipeline.core.labels import SPLITS
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.params import load_params
from pipeline.training.store.packing import pack
from pipeline.views.preprocess import Preprocess

DATA = Path("data")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in SPLITS:
        raise PipelineError(f"pack_zarr: expected one of {', '.join(SPLITS)}, got {sys.argv[1:]}")
    split = sys.argv[1]
    params = load_params()
    source = DATA / "splits" / f"{split}.csv"
    target = DATA / "zarr" / f"{split}.zarr"
    preprocess = Preprocess.from_params(params.preprocess)
    store = pack(source, target, preprocess, params.pack_zarr.crops_per_shard)
    print(f"pack_zarr: {split:5} {len(store.table):6d} crops  {len(store.faces):5d} faces")


if __name__ == "__main__":
    run_stage(main)
