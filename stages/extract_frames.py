"""Find the scenes of every video and write a few frames of each.

deps: data/manifests/videos.csv, ${data.root}/inswapper   params: extract_frames
outs: data/frames, data/manifests/raw.csv, data/manifests/skipped_videos.csv
"""

import shutil
from pathlib import Path

from pipeline.core.manifest import FrameRow, InputRow, SkipRow, read_rows, write_rows
from pipeline.frames.extraction import extract_frames, require_few_skipped
from pipeline.runtime.cache import stage_cache_root
from pipeline.runtime.cli import run_stage
from pipeline.runtime.params import load_params
from pipeline.runtime.workers import ray_address, worker_count

MANIFESTS = Path("data/manifests")
SKIPPED = MANIFESTS / "skipped_videos.csv"
FRAMES = Path("data/frames")


def main() -> None:
    params = load_params().extract_frames
    videos = read_rows(MANIFESTS / "videos.csv", InputRow)
    shutil.rmtree(FRAMES, ignore_errors=True)
    FRAMES.mkdir(parents=True)
    cache_root = stage_cache_root()
    result = extract_frames(videos, FRAMES, params, worker_count(), cache_root, ray_address())
    write_rows(MANIFESTS / "raw.csv", result.rows, FrameRow)
    write_rows(SKIPPED, result.skipped, SkipRow)
    scenes = len({(row.video_id, row.scene) for row in result.rows})
    print(
        f"extract_frames: {len(videos)} videos, {result.reused} reused,"
        f" {scenes} scenes, {len(result.rows)} frames"
    )
    for row in result.skipped:
        print(f"extract_frames: skipped {row.path}: {row.reason}: {row.detail}")
    require_few_skipped(result.skipped, len(videos), params.max_skip_frac, SKIPPED)


if __name__ == "__main__":
    run_stage(main)
