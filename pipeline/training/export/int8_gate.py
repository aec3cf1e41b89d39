"""The int8 gate: a comparison of the quantised with the exact detector on validation."""

from functools import partial

import onnxruntime
import pandas as pd

from pipeline.bundle.load import Int8Check
from pipeline.bundle.session import run_session
from pipeline.decision.decide import DecisionSpec
from pipeline.decision.scorer import FaceScorer
from pipeline.seam.trees import TreeEnsemble
from pipeline.training.network.model import HEADS
from pipeline.training.scoring.metrics import area_under_roc
from pipeline.training.scoring.scorer import decided, stored_evidence
from pipeline.training.store.reader import FaceStore
from pipeline.views.preprocess import Preprocess

MAX_AUC_CHANGE = 0.002
MAX_FLIPS_FRAC = 0.005


def gate_int8(
    exact: onnxruntime.InferenceSession,
    quantised: onnxruntime.InferenceSession,
    store: FaceStore,
    preprocess: Preprocess,
    trees: TreeEnsemble,
    decision: DecisionSpec,
) -> Int8Check:
    """Compare AUC and verdicts of the two sessions on every face of a split."""
    scorers = (
        FaceScorer(partial(run_session, session, heads=HEADS), preprocess, trees)
        for session in (exact, quantised)
    )
    before, after = (
        decided(store.faces, stored_evidence(scorer, store), decision) for scorer in scorers
    )
    return compare(before, after)


def compare(before: pd.DataFrame, after: pd.DataFrame) -> Int8Check:
    """before, after: one row per face with label, score and verdict, in the same order."""
    if before["label"].nunique() < 2:
        return Int8Check(written=False, reason="validation lacks a class, so AUC is undefined")
    change = area_under_roc(after["label"], after["score"]) - area_under_roc(
        before["label"], before["score"]
    )
    flips = float((before["verdict"] != after["verdict"]).mean())
    passed = abs(change) <= MAX_AUC_CHANGE and flips <= MAX_FLIPS_FRAC
    return Int8Check(
        written=passed,
        reason=(
            f"{'passed' if passed else 'refused'} on {len(before)} faces: AUC changes by "
            f"{change:+.4f} (at most {MAX_AUC_CHANGE}), {flips:.2%} of the verdicts flip "
            f"(at most {MAX_FLIPS_FRAC:.1%})"
        ),
        auc_change=float(change),
        verdict_flips_frac=flips,
    )
