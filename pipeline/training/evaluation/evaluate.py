"""The whole test report: every slice, probe and ladder of one detector on one split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.manifest import Row, SkipRow, SplitRow, read_rows
from pipeline.decision.evidence import FaceEvidence
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.calibration.fit import Calibration, fusion_name
from pipeline.training.calibration.report import copies_report
from pipeline.training.evaluation.probes import MeasuredSplit, compressed_reals, ladders, probes
from pipeline.training.evaluation.schema import Headline, TestReport
from pipeline.training.evaluation.slices import (
    Report,
    Slicer,
    by_generator,
    by_source,
    by_surroundings,
    by_threshold,
    by_verdict,
    by_view,
    coverage,
    frames,
    headline,
    six_reports,
    videos,
)
from pipeline.training.scoring.copies import pool_of, score_copies
from pipeline.training.scoring.scorer import decided, face_scores
from pipeline.views.cut import view_names

SAMPLE_ROOT = "data/sample"
SAMPLE_NOTE = (
    "embedded sample: shows that the pipeline works, says nothing about accuracy in the field"
)
OWN_DATA_NOTE = "own data"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """report: metrics/test.json. faces: one row per face with score and verdict."""

    report: TestReport
    faces: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Everything else that the report compares with.

    train, seen: crops of the train split, and of train and validation together. skipped: rows of
    skipped_*.csv. data_root: the data root of the run.
    """

    train: pd.DataFrame
    seen: pd.DataFrame
    skipped: pd.DataFrame
    data_root: str


def read_surroundings(data: Path, data_root: str) -> Surroundings:
    """Read the splits and the lists of skipped samples below `data`. Raises ManifestError."""
    train = _table(read_rows(data / "splits/train.csv", SplitRow), SplitRow)
    val = _table(read_rows(data / "splits/val.csv", SplitRow), SplitRow)
    skipped = [
        row
        for name in ("skipped_videos.csv", "skipped_faces.csv")
        for row in read_rows(data / "manifests" / name, SkipRow)
    ]
    return Surroundings(
        train=train,
        seen=pd.concat([train, val], ignore_index=True),
        skipped=_table(skipped, SkipRow),
        data_root=data_root,
    )


def evaluate(
    split: MeasuredSplit, calibration: Calibration, around: Surroundings, params: EvaluateParams
) -> Evaluation:
    """Score the split, its degraded copies and its probes, and report on them."""
    copies = score_copies(split.scorer, split.store)
    faces = decided(split.store.faces, copies.stored, split.decision)
    compressed = compressed_reals(split, faces, params.compressed_jpeg)
    slicer = Slicer(split.decision.thresholds, params.bootstrap, params.seed)
    scores = faces["score"].to_numpy()
    report: dict[str, Any] = {
        "note": SAMPLE_NOTE if around.data_root == SAMPLE_ROOT else OWN_DATA_NOTE,
        "headline": headline(slicer, faces, compressed),
        "frame": slicer.metrics(frames(faces)),
        "video": slicer.metrics(videos(faces)),
        "report": six_reports(slicer, faces, compressed, around.seen, params),
        "generator": by_generator(slicer, faces),
        "view": by_view(slicer, faces, view_names(split.scorer.preprocess)),
        "source": by_source(slicer, faces, around.seen),
        "surroundings": by_surroundings(slicer, faces, split.decision.min_surroundings_frac),
        "copies": copies_report(pool_of(copies, split.decision.min_face_px), split.decision),
        "threshold": by_threshold(split.decision.thresholds, faces),
        "verdict": by_verdict(faces),
        "fusion": _both_fusions(faces, copies.stored, calibration, params),
        "probe": probes(split, scores, around.train, params.bootstrap, params.seed),
        "ladder": ladders(split, params.ladder_faces),
        "coverage": coverage(faces, around.skipped),
    }
    return Evaluation(report=TestReport.model_validate(report), faces=faces)


def headline_lines(headline: Headline) -> list[str]:
    """The headline for a terminal: one line per number with its interval."""
    lines = []
    for name in headline.names:
        value, low, high = (_text(getattr(headline, name + end)) for end in ("", "_low", "_high"))
        lines.append(f"{name:17} {value}  ({low} to {high})")
    return lines


def _text(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _both_fusions(
    faces: pd.DataFrame, evidence: FaceEvidence, calibration: Calibration, params: EvaluateParams
) -> Report:
    report: Report = {"active": fusion_name(calibration.decision)}
    for spec in (calibration.decision, calibration.other):
        slicer = Slicer(spec.thresholds, params.bootstrap, params.seed)
        report[fusion_name(spec)] = slicer.brief(faces.assign(score=face_scores(evidence, spec)))
    return report


def _table(rows: Sequence[Row], model: type[Row]) -> pd.DataFrame:
    return pd.DataFrame([row.model_dump() for row in rows], columns=list(model.model_fields))
