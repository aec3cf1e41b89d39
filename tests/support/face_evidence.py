"""Evidence with logits given by a test."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.decision.evidence import FaceEvidence
from pipeline.decision.fusion import FUSED_HEADS


def evidence_of(
    real_fake: ArrayLike,
    inswapper: ArrayLike | None = None,
    boundary: ArrayLike | None = None,
    **members: Any,
) -> FaceEvidence:
    """Logits (n, views), or (views,) of one face; a head that is left out equals real_fake.

    members: others of FaceEvidence. By default all quality logits are 0, all surroundings visible.
    """
    first = np.asarray(real_fake)
    heads = [first if head is None else np.asarray(head) for head in (first, inswapper, boundary)]
    given = {name: np.asarray(value) for name, value in members.items() if value is not None}
    defaults = {"quality": np.zeros((*first.shape, 3)), "surroundings": np.ones(first.shape[:-1])}
    return FaceEvidence(**dict(zip(FUSED_HEADS, heads, strict=True)), **{**defaults, **given})
