"""Options of the benchmark."""

from dataclasses import dataclass
from pathlib import Path

# Maximum number of rounds for works that take seconds per round.
FEW_ROUNDS = 3


@dataclass(frozen=True)
class Options:
    """Options of the benchmark.

    rounds: measured rounds of each work. insightface_pack: folder with ONNX models of insightface.
    clip: additional video for the scene detection.
    """

    rounds: int = 7
    insightface_pack: Path | None = None
    clip: Path | None = None

    @property
    def few_rounds(self) -> int:
        return min(self.rounds, FEW_ROUNDS)
