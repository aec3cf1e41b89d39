"""Find the face in every frame and still, crop it at several scales and label the crops.

deps: data/manifests/{raw,images}.csv, data/frames   params: preprocess, crop_faces
outs: data/crops, data/manifests/{crops,skipped_faces}.csv, data/manifests/quality.json
"""

import shutil
from pathlib import Path

from pipeline.core.files import write_json
from pipeline.core.manifest import CropRow, FrameRow, InputRow, SkipRow, read_rows, write_rows
from pipeline.crops.cropping import (
    CropJob,
    crop_frames,
    reasons,
    require_few_skipped,
    require_real_face,
    stills_as_frames,
)
from pipeline.runtime.cache import stage_cache_root
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.runtime.workers import ray_address, worker_count
from pipeline.views.preprocess import Preprocess

MANIFESTS = Path("data/manifests")
SKIPPED = MANIFESTS / "skipped_faces.csv"
CROPS = Path("data/crops")


def main() -> None:
    params = load_params()
    frames = read_rows(MANIFESTS / "raw.csv", FrameRow)
    frames += stills_as_frames(read_rows(MANIFESTS / "images.csv", InputRow))
    shutil.rmtree(CROPS, ignore_errors=True)
    CROPS.mkdir(parents=True)
    preprocess = Preprocess.from_params(params.preprocess)
    job = CropJob(params.crop_faces, preprocess, CROPS, stage_cache_root())
    result = crop_frames(frames, job, worker_count(), ray_address())
    # Written before a failure, which it explains.
    write_rows(SKIPPED, result.skipped, SkipRow)
    thresholds = require_real_face(result, SKIPPED)
    write_rows(MANIFESTS / "crops.csv", result.each_row(), CropRow)
    write_json(MANIFESTS / "quality.json", thresholds.to_dict())
    crops = sum(len(face.crops) for face in result.faces)
    print(
        f"crop_faces: {len(frames)} frames, {result.reused} reused,"
        f" {len(result.faces)} faces, {crops} crops"
    )
    if result.disagreeing:
        print(
            f"crop_faces: {len(result.disagreeing)} frames of fakes are not paired, because their"
            f" original shows something else outside the face; first: {result.disagreeing[0]}"
        )
    print(f"crop_faces: skipped {len(result.skipped)} frames: {reasons(result)}")
    require_few_skipped(result, params.crop_faces.max_skip_frac, SKIPPED)


if __name__ == "__main__":
    run_stage(main)
