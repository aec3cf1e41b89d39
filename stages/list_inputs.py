"""List the videos and images of the data root in manifests.

deps: ${data.root}/inswapper, ${data.root}/images.csv, ${data.root}/images   params: data
outs: data/manifests/{videos,images,tags}.csv
"""

from pathlib import Path

from pipeline.core.labels import FAKE, REAL
from pipeline.core.manifest import InputRow, TagRow, write_rows
from pipeline.inputs.listing import list_inputs
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params

VIDEOS = Path("data/manifests/videos.csv")
IMAGES = Path("data/manifests/images.csv")
TAGS = Path("data/manifests/tags.csv")


def main() -> None:
    inputs = list_inputs(Path(load_params().data.root))
    for note in inputs.notes:
        print(f"list_inputs: {note}")
    for warning in inputs.warnings:
        print(f"list_inputs: warning: {warning}")
    for path, rows, name in ((VIDEOS, inputs.videos, "videos"), (IMAGES, inputs.images, "images")):
        write_rows(path, rows, InputRow)
        real, fake = (sum(row.label == label for row in rows) for label in (REAL, FAKE))
        people = len({row.identity_id for row in rows})
        print(f"list_inputs: {len(rows)} {name}, {real} real, {fake} fake, {people} people")
    write_rows(TAGS, inputs.tags, TagRow)


if __name__ == "__main__":
    run_stage(main)
