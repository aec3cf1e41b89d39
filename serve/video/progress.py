"""How far the judging of a video is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
Stage = Literal["queued", "scenes", "frames", "finished"]
# Looking through the whole video takes about as long as judging a few frames of each scene.
SCENES_FRAC = 0.5


@dataclass(frozen=True)
class Progress:
    """fraction: of all the work, 0 to 1. frames_total: None until the scenes are known."""

    stage: Stage = "queued"
    fraction: float = 0.0
    frames_done: int = 0
    frames_total: int | None = None


Report = Callable[[Progress], None]


def scenes_progress(searched_frac: float) -> Progress:
    return Progress("scenes", round(SCENES_FRAC * searched_frac, 3))


def frames_progress(done: int, total: int) -> Progress:
    fraction = SCENES_FRAC + (1 - SCENES_FRAC) * done / max(1, total)
    return Progress("frames", round(fraction, 3), done, total)
