"""Assign every group of linked people and videos to exactly one split.

deps: data/manifests/crops.csv   params: split_groups   outs: data/splits/{train,val,test}.csv
"""

from pathlib import Path

from pipeline.core.labels import FAKE
from pipeline.core.manifest import CropRow, SplitRow
from pipeline.core.tables import read_table, write_table
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.splits.groups import assign_groups

CROPS = Path("data/manifests/crops.csv")
SPLITS = Path("data/splits")


def main() -> None:
    params = load_params().split_groups
    for name, crops in assign_groups(read_table(CROPS, CropRow), params).items():
        write_table(SPLITS / f"{name}.csv", crops, SplitRow)
        count, fakes = len(crops["label"]), (crops["label"] == FAKE).sum()
        groups = len(set(crops["group"]))
        print(f"split_groups: {name:5} {count:6d} crops, {fakes} fake, {groups} groups")


if __name__ == "__main__":
    run_stage(main)
