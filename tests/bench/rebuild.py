"""Benchmark of `dvc repro` with no change, a changed threshold, and one additional video."""

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.runtime.errors import PipelineError
from tests.bench.growth import free_box
from tests.bench.options import Options
from tests.bench.rows import Goal, Row, longer, number
from tests.bench.timing import Timing, timed
from tests.support.clones import UP_TO_DATE, clone_working_tree, dvc_cache_dir, run
from tests.support.imports import ROOT

VIDEOS = Path("data/sample/inswapper/original_videos")
TRAINING = ("train", "train_seam")


def rows(options: Options) -> list[Row]:
    """Measure in a temporary clone with this checkout's outputs.

    Raises PipelineError if the outputs are missing or out of date.
    """
    with tempfile.TemporaryDirectory(prefix="rebuild-") as folder:
        clone = Path(folder) / "clone"
        clone_with_outputs(clone)
        return [
            unchanged(clone, options.few_rounds),
            changed_threshold(clone),
            *one_video_more(clone, Path(folder) / "stages"),
        ]


def clone_with_outputs(clone: Path) -> None:
    if UP_TO_DATE not in run(ROOT, "dvc", "status"):
        raise PipelineError("stages are out of date; run `dvc repro` first")
    clone_working_tree(clone)
    run(clone, "dvc", "cache", "dir", "--local", dvc_cache_dir())
    run(clone, "dvc", "checkout")


def unchanged(clone: Path, rounds: int) -> Row:
    took = timed({"repro": lambda: run(clone, "dvc", "repro")}, rounds)["repro"]
    goal = Goal(5, at_least=False, of="ours")
    return number("`dvc repro`, nothing changed", took.each_ms(1000).median, "s", goal)


def changed_threshold(clone: Path) -> Row:
    """Number of training stages among those that a new calibrate.low_fpr makes stale."""
    path = clone / "params.yaml"
    before = path.read_text(encoding="utf-8")
    changed = re.sub(r"^  low_fpr: .*", "  low_fpr: 0.031", before, flags=re.MULTILINE)
    path.write_text(changed, encoding="utf-8")
    stale = re.findall(r"Running stage '(\S+)'", run(clone, "dvc", "repro", "--dry"))
    path.write_text(before, encoding="utf-8")
    trained = sum(name in TRAINING for name in stale)
    work = f"`dvc repro`, changed low_fpr ({', '.join(stale)}): training stages"
    return number(work, trained, f"of {len(stale)} stages", Goal(0, at_least=False, of="ours"))


def one_video_more(clone: Path, cache: Path) -> list[Row]:
    """Frames and crops of all videos with an empty stage cache, then again with one more video."""
    cold, _ = once(lambda: frames_and_crops(clone, cache))
    first = min((clone / VIDEOS).glob("*.mp4"))
    first.with_name("one-more.mp4").write_bytes(first.read_bytes() + free_box(1))
    warm, decoded = once(lambda: frames_and_crops(clone, cache))
    work, goal = "one additional video: frames and crops", Goal(1, at_least=False, of="ours")
    return [
        longer(work, "all videos without the cache", warm, cold, 1, "ms", None),
        number(f"{work}: decoded", decoded, "videos", goal),
    ]


def once(work: Callable[[], int]) -> tuple[Timing, int]:
    started = time.perf_counter()
    result = work()
    took = (time.perf_counter() - started,)
    return Timing(took, took), result


def frames_and_crops(clone: Path, cache: Path) -> int:
    """Run the stages up to the crops and return the number of decoded videos."""
    run(clone, "python", "-m", "stages.list_inputs")
    variables = {"INSWAPPER_STAGE_CACHE": str(cache)}
    output = run(clone, "python", "-m", "stages.extract_frames", **variables)
    run(clone, "python", "-m", "stages.crop_faces", **variables)
    videos, reused = re.findall(r"(\d+) videos, (\d+) reused", output)[-1]
    return int(videos) - int(reused)
