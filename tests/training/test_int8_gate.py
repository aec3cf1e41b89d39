from functools import partial

import numpy as np
import pandas as pd
import pytest
from onnxruntime import InferenceSession

from pipeline.bundle.session import open_session, run_session
from pipeline.decision.fusion import LearnedFusion
from pipeline.decision.scorer import FaceScorer
from pipeline.training.export.int8_gate import compare, gate_int8
from pipeline.training.network.model import HEADS
from pipeline.training.network.onnx_export import CPU, export_onnx
from pipeline.training.scoring.scorer import stored_evidence, torch_network
from tests.support.decisions import decision_of, limits_of
from tests.support.face_stores import PREPROCESS, SharpnessNet, drawn_store
from tests.support.tiny_trees import stump

SPEC = decision_of(limits_of(0.5, 0.5))


def table(scores: np.ndarray, threshold: float = 0.5) -> pd.DataFrame:
    labels = np.arange(len(scores)) % 2
    verdicts = np.where(scores >= threshold, "fake", "real")
    return pd.DataFrame({"label": labels, "score": scores, "verdict": verdicts})


CLEAN = np.where(np.arange(1000) % 2, 0.8, 0.2)


def test_an_equal_copy_passes() -> None:
    found = compare(table(CLEAN), table(CLEAN + 0.01))
    assert (found.written, found.auc_change, found.verdict_flips_frac) == (True, 0.0, 0.0)
    assert found.reason.startswith("passed on 1000 faces")


@pytest.mark.parametrize(("flipped", "passes"), [(4, True), (6, False)])
def test_more_than_one_verdict_in_two_hundred_may_not_flip(flipped: int, passes: bool) -> None:
    changed = CLEAN.copy()
    changed[1 : 2 * flipped : 2] = 0.45  # fakes below the limit, still above every real
    found = compare(table(CLEAN), table(changed))
    assert found.verdict_flips_frac == flipped / 1000
    assert found.auc_change == 0.0
    assert found.written is passes
    assert ("passed" if passes else "refused") in found.reason


def test_a_lost_auc_is_refused_although_no_verdict_flips() -> None:
    before = CLEAN.copy()
    before[0:20:2] = 0.4  # ten reals
    after = before.copy()
    after[1:21:2] = 0.3  # ten fakes now lie below these ten reals
    found = compare(table(before, 0.9), table(after, 0.9))
    assert found.verdict_flips_frac == 0.0
    assert found.auc_change == pytest.approx(-10 * 10 / 500**2)
    assert found.written is True
    lost = compare(table(CLEAN, 0.9), table(1 - CLEAN, 0.9))
    assert (lost.written, lost.auc_change) == (False, -1.0)


def test_one_class_cannot_be_compared() -> None:
    one = table(CLEAN).assign(label=1)
    assert "lacks a class" in compare(one, one).reason
    assert compare(one, one).written is False


@pytest.fixture(scope="module")
def sessions() -> list[InferenceSession]:
    """Two networks that disagree about every face."""
    return [
        open_session(export_onnx(SharpnessNet(gain=gain).eval(), PREPROCESS, 18), 1, CPU, "net")
        for gain in (20.0, -20.0)
    ]


@pytest.mark.slow
def test_sessions_are_compared_on_the_stored_faces(sessions: list[InferenceSession]) -> None:
    store = drawn_store(people=2, frames=1)
    net = SharpnessNet(gain=20.0).eval()
    exact, other = sessions
    trees = stump()
    served, expected = (
        stored_evidence(FaceScorer(network, PREPROCESS, trees), store)
        for network in (partial(run_session, exact, heads=HEADS), torch_network(net))
    )
    for head in ("real_fake", "inswapper", "boundary", "quality", "trees"):
        assert getattr(served, head) == pytest.approx(getattr(expected, head), abs=1e-4)
    assert gate_int8(exact, exact, store, PREPROCESS, trees, SPEC).written is True
    assert gate_int8(exact, other, store, PREPROCESS, trees, SPEC).written is False


@pytest.mark.slow
def test_the_trees_take_part_in_the_comparison(sessions: list[InferenceSession]) -> None:
    """Where the trees alone decide, two networks that disagree give the same verdicts."""
    store = drawn_store(people=2, frames=1)
    deaf = LearnedFusion(bias=0.0, real_fake=0.0, inswapper=0.0, boundary=0.0, seam=1.0)
    spec = SPEC.model_copy(update={"fusion": deaf})
    found = gate_int8(*sessions, store, PREPROCESS, stump(), spec)
    assert (found.written, found.auc_change, found.verdict_flips_frac) == (True, 0.0, 0.0)


@pytest.mark.parametrize(("reals", "passes"), [(22, True), (23, False)])
def test_the_auc_may_change_by_two_thousandths(reals: int, passes: bool) -> None:
    """As many fakes sink below as many reals, and no verdict flips: 22 ** 2 / 500 ** 2 = .0019."""
    before = CLEAN.copy()
    before[0 : 2 * reals : 2] = 0.4
    after = before.copy()
    after[1 : 2 * reals : 2] = 0.3
    for one, other in ((before, after), (after, before)):
        found = compare(table(one, 0.9), table(other, 0.9))
        assert found.auc_change is not None
        assert abs(found.auc_change) == pytest.approx(reals**2 / 500**2)
        assert (found.written, found.verdict_flips_frac) == (passes, 0.0)
