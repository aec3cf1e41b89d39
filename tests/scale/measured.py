"""What was measured, from the reports in metrics/ and the small measurements beside them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import PipelineError

# Rows of metrics/bench.json: (work, unit of ours).
PICTURES = ("picture to verdict, 1024-px JPEG", "pictures/s")
VIDEO = ("video to verdict, 30 s of 720p", "s of video/s")
NETWORK = ("network alone, one crop", "crops/s")
LOADER = ("loader with augmentation", "images/s")
STEP = (
    "training step, ConvNeXt-Tiny, 256 px, CPU, bf16-mixed and channels-last",
    "images/s",
)


@dataclass(frozen=True)
class Measured:
    """All of it on `cores` cores of one machine. small: as `small_measures` gives it.

    pictures_s: judged a second. video_s_s: seconds of 720p video judged a second. network_s: crops
    a second. loader_s, step_s: training images a second. peak_hz: requests a second of the service.
    growth: stages of metrics/growth.json, {} without it.
    """

    cores: int
    pictures_s: float
    video_s_s: float
    network_s: float
    loader_s: float
    step_s: float
    peak_hz: float
    growth: dict[str, Any]
    small: dict[str, Any] = field(default_factory=dict)


def read_measured(metrics: Path) -> Measured:
    """All but the small measurements.

    Raises PipelineError for a report that is missing, or has not what the plan needs.
    """
    bench = read_report(metrics / "bench.json", "make bench")
    serve = read_report(metrics / "bench_serve.json", "make bench-serve")
    cores = {report["machine"]["cores"] for report in (bench, serve)}
    if len(cores) > 1:
        raise PipelineError(f"{metrics}: bench.json and bench_serve.json: of machines that differ")
    growth = metrics / "growth.json"
    return Measured(
        cores=cores.pop(),
        pictures_s=_ours(bench, *PICTURES),
        video_s_s=_ours(bench, *VIDEO),
        network_s=_ours(bench, *NETWORK),
        loader_s=_ours(bench, *LOADER),
        step_s=_ours(bench, *STEP),
        peak_hz=serve["overload"]["peak_hz"],
        growth=read_report(growth, "")["stages"] if growth.exists() else {},
    )


def read_report(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        raise PipelineError(f"{path}: not found; run `{command}` first")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _ours(bench: dict[str, Any], work: str, unit: str) -> float:
    for row in bench["rows"]:
        if (row["work"], row["unit"]) == (work, unit) and row["ours"] is not None:
            return float(row["ours"]["median"])
    raise PipelineError(
        f"metrics/bench.json: {work!r} in {unit} was not measured; run `make bench`"
    )
