"""Build a data root from your own photos: `python -m stages.import_photos FOLDER TARGET [options]`.

Reads FOLDER/<source>/**.jpg|.jpeg|.png; `dvc repro -S data.root=TARGET` then uses TARGET. Run by
hand; not a stage of dvc.yaml.
"""

import argparse
from pathlib import Path

from pipeline.faces.retinaface_pack import PACK_NAME
from pipeline.runtime.cli import run_stage
from pipeline.runtime.workers import worker_count
from pipeline.training.photos.importing import import_photos, summary_lines
from pipeline.training.photos.params import read_params


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m stages.import_photos", description=__doc__)
    add = options.add_argument
    add("folder", type=Path, help="folder with one subfolder per source")
    add("target", type=Path, help="data root to write")
    add("--sources", nargs="+", default=(), help="sources to import (default: all)")
    add("--detector", default="insightface", help="see crop_faces.detector in params.yaml")
    add("--pack", default=PACK_NAME, help="see crop_faces.pack in params.yaml")
    add("--min-score", type=float, default=0.5, help="minimum score of a face")
    add("--min-face-px", type=int, default=40, help="minimum longer side of a face")
    add("--max-side-px", "--max-side", type=int, default=1600, help="larger photos are shrunk")
    add("--hull-frac", type=float, default=0.1, help="fraction of swaps pasted by face outline")
    add(
        "--reencode",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="re-encode the photos too, not only their swaps",
    )
    add("--embedder", type=Path, help="ArcFace-like ONNX file to identify people")
    add("--same-person", type=float, default=0.5, help="minimum cosine similarity of one person")
    add("--inswapper", type=Path, help="inswapper_128.onnx to make the swaps (non-commercial)")
    add("--exclude", type=Path, action="append", default=[], help="people to exclude; repeatable")
    add("--seed", type=int, default=20)
    add("--replace", action="store_true", help="replace an earlier import")
    return options


def main() -> None:
    given = vars(parser().parse_args())
    folder, target, replace = (given.pop(name) for name in ("folder", "target", "replace"))
    params = read_params(given)
    imported = import_photos(folder, target, params, worker_count(), replace=replace)
    for line in summary_lines(imported):
        print(f"import_photos: {line}")


if __name__ == "__main__":
    run_stage(main)
