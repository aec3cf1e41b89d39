"""What the plan takes for granted: prices, machines, a GPU and the work. Every number is an option.

None of these was measured here. A GPU is worth so many of the cores that were.
"""

import argparse
from dataclasses import dataclass, field, fields

from pipeline.runtime.errors import PipelineError

HOUR_S = 3600
MONTH_H = 730


def _assumed(default: float, text: str) -> float:
    value: float = field(default=default, metadata={"help": text})
    return value


@dataclass(frozen=True)
class Assumptions:
    """Raises PipelineError unless every number is above 0."""

    core_hour_usd: float = _assumed(0.04, "price of a core for an hour")
    gpu_hour_usd: float = _assumed(2.5, "price of a GPU for an hour, with its cores")
    gb_month_usd: float = _assumed(0.023, "price of a GB in an object store for a month")
    thousand_puts_usd: float = _assumed(0.005, "price of 1,000 PUT or LIST requests")
    gpu_cores: float = _assumed(100, "cores whose judging one GPU does, all of it ported to it")
    gpu_training_cores: float = _assumed(300, "cores whose training step one GPU does")
    machine_cores: float = _assumed(16, "cores of a machine")
    machine_gb: float = _assumed(64, "memory of a machine")
    machine_gbit_s: float = _assumed(10, "network of a machine")
    puts_s: float = _assumed(3500, "PUT requests a second that a bucket takes")
    videos: float = _assumed(100_000, "videos to be prepared")
    video_s: float = _assumed(60, "length of a video (720p, 25 frames a second, a cut every 4 s)")
    video_mbit_s: float = _assumed(4, "bit rate of a video")
    looked_at_frac: float = _assumed(0.01, "share of the faces that a person looks at")
    look_s: float = _assumed(2, "seconds that a look takes")
    epoch_crops: float = _assumed(1_000_000, "crops that training sees in an epoch")
    epochs: float = _assumed(30, "epochs of training, as in make production")
    requests_s: float = _assumed(1000, "requests a second, at random moments (Poisson)")
    p99_ms: float = _assumed(500, "time within which 99 % of the requests are answered")
    refused_frac: float = _assumed(0.001, "share of the requests that may be refused")

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not 0 < value < float("inf"):
                raise PipelineError(f"{_option(one.name)}: expected more than 0, got {value:g}")


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("assumptions")
    for one in fields(Assumptions):
        text = f"{one.metadata['help']} (default {one.default:g})".replace("%", "%%")
        group.add_argument(_option(one.name), type=float, default=one.default, help=text)


def assumptions_from(args: argparse.Namespace) -> Assumptions:
    return Assumptions(**{one.name: getattr(args, one.name) for one in fields(Assumptions)})


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
