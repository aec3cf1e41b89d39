"""Build the embedded sample from photographs inside pinned packages: clips, stills, pseudo-swaps.

params: build_sample   outs: data/sample
"""

from pathlib import Path

from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.runtime.workers import worker_count
from pipeline.training.sample.build import build_sample
from pipeline.training.sample.cast import CAST

SAMPLE = Path("data/sample")


def main() -> None:
    sample = build_sample(SAMPLE, CAST, load_params().build_sample, worker_count())
    print(f"build_sample: {sample.people} people, {sample.clips} clips, {sample.frames} frames")
    print(f"build_sample: {len(sample.images)} stills, half of them pseudo-swaps")


if __name__ == "__main__":
    run_stage(main)
