"""Time the parts of training on one core: `python -m stages.bench`, writes metrics/bench.json.

Reads data/zarr/train.zarr. Run by hand (`make bench`) on a quiet machine; no stage of dvc.yaml.
"""

import argparse
from pathlib import Path

import cv2

from pipeline.cli import run_stage
from pipeline.jsonfile import write_json
from pipeline.params import load_params
from pipeline.training.benchmark import context_pictures, machine, swap_report
from pipeline.training.store import open_zarr


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.bench", description=__doc__)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("metrics/bench.json"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    params = load_params()
    pictures = context_pictures(open_zarr(Path("data/zarr/train.zarr")), args.pictures)
    swaps = swap_report(pictures, params, args.rounds)
    write_json(args.out, {"machine": machine(), "swaps": swaps})
    for name, row in swaps["work"].items():
        spread = f"{row['least_ms']:.1f} to {row['greatest_ms']:.1f}"
        print(f"bench: {name:12} {row['median_ms']:6.1f} ms a picture  ({spread})")
    print(f"bench: {swaps['swaps_per_second']:.0f} pseudo-swaps a second on one core")


if __name__ == "__main__":
    run_stage(main)
