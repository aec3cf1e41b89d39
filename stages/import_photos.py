"""Make a data root of your own photos: `python -m stages.import_photos FOLDER TARGET [options]`.

FOLDER/<source>/**.jpg|.jpeg|.png is read; `dvc repro -S data.root=TARGET` then uses TARGET. Run by
hand; no stage of dvc.yaml.
"""

import argparse
from pathlib import Path

from pipeline.faces.retinaface_pack import PACK_NAME
from pipeline.runtime.cli import run_stage
from pipeline.runtime.workers import worker_count
from pipeline.training.photos.importing import import_photos, summary_lines
from pipeline.training.photos.params import read_params


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m stages.import_photos", description=__doc__)
    add = made.add_argument
    add("folder", type=Path, help="holds one folder a source")
    add("target", type=Path, help="data root to write")
    add("--sources", nargs="+", default=(), help="sources to take (default: all)")
    add("--detector", default="insightface", help="as crop_faces.detector")
    add("--pack", default=PACK_NAME, help="as crop_faces.pack")
    add("--min-score", type=float, default=0.5, help="least score of a face")
    add("--min-face-px", type=int, default=40, help="least longer side of a face")
    add("--max-side-px", "--max-side", type=int, default=1600, help="larger photos are shrunk")
    add("--hull-frac", type=float, default=0.1, help="share of twins pasted by the face's outline")
    add("--reencode", action=argparse.BooleanOptionalAction, default=True, help="photos as well")
    add("--embedder", type=Path, help="ArcFace-like ONNX file that tells people apart")
    add("--same-person", type=float, default=0.5, help="least cosine similarity of one person")
    add("--inswapper", type=Path, help="inswapper_128.onnx makes the twins (non-commercial)")
    add("--exclude", type=Path, action="append", default=[], help="people to keep out; repeatable")
    add("--seed", type=int, default=20)
    add("--replace", action="store_true", help="replace an earlier import")
    return made


def main() -> None:
    given = vars(parser().parse_args())
    folder, target, replace = (given.pop(name) for name in ("folder", "target", "replace"))
    params = read_params(given)
    imported = import_photos(folder, target, params, worker_count(), replace=replace)
    for line in summary_lines(imported):
        print(f"import_photos: {line}")


if __name__ == "__main__":
    run_stage(main)
