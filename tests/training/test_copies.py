"""pipeline.training.scoring.copies: copies above the size limit, and the weight of each source."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.training.pairs.degradations import DEGRADED_COPIES
from pipeline.training.scoring.copies import AS_IT_IS, pool_of
from tests.support.drawn_logits import faces_of


def test_a_pool_holds_the_copies_above_the_size_limit() -> None:
    pool = pool_of(faces_of(), 60)
    counts = {name: int((pool.copy == name).sum()) for name in np.unique(pool.copy)}
    # Half of the faces are of 100 px, half of 200: of a third only the latter are large enough.
    smaller = {"half": 200, "third": 200}
    assert counts == dict.fromkeys((AS_IT_IS, *DEGRADED_COPIES), 400) | smaller
    assert pool.evidence.real_fake.shape == (2400, 1)
    part = pool.where(pool.copy == "half")
    assert len(part.labels) == len(part.weights) == len(part.evidence) == 200


def test_within_a_class_every_source_weighs_the_same() -> None:
    faces = faces_of()
    sources = np.where(np.arange(400) < 350, "many", "few")
    pool = pool_of(replace(faces, faces=faces.faces.assign(source=sources)), 60)
    names = np.concatenate(
        [
            sources[faces.faces["face_px"] * factor >= 60]
            for factor in (1.0, *(copy.size_factor for copy in DEGRADED_COPIES.values()))
        ]
    )
    assert pool.weights.mean() == pytest.approx(1.0)
    for label in (0, 1):
        rows = pool.labels == label
        assert pool.weights[rows].mean() == pytest.approx(1.0)
        many, few = (pool.weights[rows & (names == name)] for name in ("many", "few"))
        assert many.sum() == pytest.approx(few.sum())
        assert np.ptp(many) < 1e-12
        assert np.ptp(few) < 1e-12
