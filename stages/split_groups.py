"""Assign every group of linked people and videos to exactly one split.

deps: data/manifests/crops.csv   params: split_groups   outs: data/splits/{train,val,test}.csv
"""

from pathlib import Path

from pipeline.core.labels import FAKE
from pipeline.core.manifest import CropRow, SplitRow, read_rows, write_rows
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.splits.groups import assign_groups

CROPS = Path("data/manifests/crops.csv")
SPLITS = Path("data/splits")


def main() -> None:
    params = load_params().split_groups
    for name, rows in assign_groups(read_rows(CROPS, CropRow), params).items():
        write_rows(SPLITS / f"{name}.csv", rows, SplitRow)
        fakes = sum(row.label == FAKE for row in rows)
        groups = len({row.group for row in rows})
        print(f"split_groups: {name:5} {len(rows):6d} crops, {fakes} fake, {groups} groups")


if __name__ == "__main__":
    run_stage(main)
