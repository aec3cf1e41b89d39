"""Make a page to look at the crops: `python -m stages.inspect_crops [--most N]`.

Reads data/splits/{train,val,test}.csv and the crops, writes data/inspection/crops.html. Run by
hand; no stage of dvc.yaml. data/reports is an output of `evaluate`, which must not change.
"""

import argparse
from pathlib import Path

from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow, read_rows
from pipeline.runtime.cli import run_stage
from pipeline.training.review.crop_page import render_crop_page

PAGE = Path("data/inspection/crops.html")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.inspect_crops", description=__doc__)
    parser.add_argument("--most", type=int, default=2000, help="images on the page, about")
    args = parser.parse_args()
    if args.most < 1:
        parser.error(f"--most: expected at least 1, got {args.most}")
    splits = {name: read_rows(Path(f"data/splits/{name}.csv"), SplitRow) for name in SPLITS}
    html = render_crop_page(splits, Path(), args.most)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(html, encoding="utf-8")
    print(
        f"inspect_crops: {PAGE} shows {sum(map(len, splits.values()))} crops; open it in a browser"
    )


if __name__ == "__main__":
    run_stage(main)
