"""Verdict and mean score of several faces or frames, and the ranking of verdicts."""

from collections.abc import Sequence
from typing import Literal

from pipeline.decision.fusion import fuse_frames
from pipeline.decision.thresholds import VERDICTS, Thresholds, Verdict, verdict

ImageVerdict = Literal["real", "suspicious", "fake", "undecided", "no_face"]
ScoredVerdict = tuple[ImageVerdict, float]


def alarm(name: ImageVerdict) -> int:
    """Rank of a verdict, higher = more alarming."""
    return ("no_face", *VERDICTS).index(name)


def counted(scored: Sequence[ScoredVerdict]) -> list[float]:
    """Scores that enter the mean: undecided ones only if there are no others."""
    decided = [score for name, score in scored if name != "undecided"]
    return decided or [score for _, score in scored]


def mean_verdict(scored: Sequence[ScoredVerdict], thresholds: Thresholds) -> tuple[Verdict, float]:
    """Verdict and mean score of one or more (verdict, score in [0, 1])."""
    score = fuse_frames(counted(scored))
    if all(name == "undecided" for name, _ in scored):
        return "undecided", score
    return verdict(score, thresholds), score
