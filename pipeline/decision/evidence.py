"""Evidence about faces: everything that the decision reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, FloatArray64


@dataclass(frozen=True, eq=False, kw_only=True)
class FaceEvidence:
    """Evidence about one face, or about n faces with n as the first axis of every member.

    real_fake, inswapper, boundary: (n, views) logits of the heads. quality: (n, views, 3) logits.
    trees: (n,) logit of the seam trees; None without trees. detail: (n,) detail of the
    surroundings that a 128-px face cannot contain (pipeline.seam.features.outside_detail); no
    evidence by itself, but without it a seam cannot be seen. NaN or None where unknown.
    surroundings: (n,) fraction of the ring around the paste square that the image shows.
    seam_map: (n, views, 32, 32) logits and rings: (n, maps, rings, sectors) ring statistics; for
    people to look at, not used by the decision and only kept on request.
    """

    real_fake: FloatArray
    inswapper: FloatArray
    boundary: FloatArray
    quality: FloatArray
    surroundings: FloatArray64
    trees: FloatArray64 | None = None
    detail: FloatArray64 | None = None
    seam_map: FloatArray | None = None
    rings: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.real_fake)

    def __getitem__(self, chosen: int | slice | NDArray[Any]) -> "FaceEvidence":
        """One face by its number; several by a slice, numbers or a mask."""
        known = {name: value[chosen] for name, value in _members(self) if value is not None}
        return FaceEvidence(**known)

    @classmethod
    def concatenated(cls, parts: Sequence["FaceEvidence"]) -> "FaceEvidence":
        """All faces of one or more parts, in their order."""
        names = [name for name, value in _members(parts[0]) if value is not None]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _members(evidence: FaceEvidence) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(evidence, field.name)) for field in fields(evidence))
