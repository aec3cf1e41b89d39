"""Progress of scoring a video."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
Stage = Literal["queued", "scenes", "frames", "finished"]
# Scene detection over the whole video takes about as long as scoring a few frames per scene.
SCENES_FRAC = 0.5


@dataclass(frozen=True)
class VideoProgress:
    """fraction: completed part of the work, 0 to 1. frames_total: None until scenes are known."""

    stage: Stage = "queued"
    fraction: float = 0.0
    frames_done: int = 0
    frames_total: int | None = None


OnProgress = Callable[[VideoProgress], None]


def scenes_progress(searched_frac: float) -> VideoProgress:
    return VideoProgress("scenes", round(SCENES_FRAC * searched_frac, 3))


def frames_progress(done: int, total: int) -> VideoProgress:
    fraction = SCENES_FRAC + (1 - SCENES_FRAC) * done / max(1, total)
    return VideoProgress("frames", round(fraction, 3), done, total)
