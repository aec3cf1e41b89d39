"""The verdict of several judgements together, and which verdict is the more alarming."""

from collections.abc import Sequence
from typing import Literal

from pipeline.decision.fusion import fuse_frames
from pipeline.decision.thresholds import VERDICTS, Thresholds, Verdict, verdict

ImageVerdict = Literal["real", "suspicious", "fake", "undecided", "no_face"]
Judgement = tuple[ImageVerdict, float]


def alarm(found: ImageVerdict) -> int:
    """Rank of a verdict, higher = more alarming."""
    return ("no_face", *VERDICTS).index(found)


def counted(judgements: Sequence[Judgement]) -> list[float]:
    """The scores that count: undecided ones only where there are no others."""
    decided = [score for found, score in judgements if found != "undecided"]
    return decided or [score for _, score in judgements]


def mean_verdict(judgements: Sequence[Judgement], thresholds: Thresholds) -> tuple[Verdict, float]:
    """Verdict and mean score of one or more (verdict, score in [0, 1])."""
    score = fuse_frames(counted(judgements))
    if all(found == "undecided" for found, _ in judgements):
        return "undecided", score
    return verdict(score, thresholds), score
