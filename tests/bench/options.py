"""What the user of the benchmark chooses."""

from dataclasses import dataclass
from pathlib import Path

# Of works that take seconds a round.
FEW_ROUNDS = 3


@dataclass(frozen=True)
class Options:
    """rounds: counted ones of each work. insightface_pack: folder with ONNX models of insightface.
    clip: a video of one's own for the scan of scenes."""

    rounds: int = 7
    insightface_pack: Path | None = None
    clip: Path | None = None

    @property
    def few_rounds(self) -> int:
        return min(self.rounds, FEW_ROUNDS)
