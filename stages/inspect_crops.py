"""Write a page for looking at the crops: `python -m stages.inspect_crops [--most N]`.

Reads data/splits/{train,val,test}.csv and the crops, writes data/inspection/crops.html (not below
data/reports, which is an output of `evaluate`). Run by hand; not a stage of dvc.yaml.
"""

import argparse
from pathlib import Path

from pipeline.core.files import replacing
from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow
from pipeline.core.tables import read_table
from pipeline.runtime.cli import run_stage
from pipeline.training.review.crop_page import render_crop_page

PAGE = Path("data/inspection/crops.html")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.inspect_crops", description=__doc__)
    parser.add_argument("--most", type=int, default=2000, help="approximate number of images")
    args = parser.parse_args()
    if args.most < 1:
        parser.error(f"--most: expected at least 1, got {args.most}")
    splits = {name: read_table(Path(f"data/splits/{name}.csv"), SplitRow) for name in SPLITS}
    html = render_crop_page(splits, Path(), args.most)
    with replacing(PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8")
    crops = sum(len(table["face_id"]) for table in splits.values())
    print(f"inspect_crops: {PAGE} shows {crops} crops; open it in a browser")


if __name__ == "__main__":
    run_stage(main)
