"""The whole test report: every slice, probe and ladder of one detector on one split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.manifest import SkipRow, SplitRow, TagRow
from pipeline.core.tables import read_table
from pipeline.decision.evidence import FaceEvidence
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.calibration.fit import Calibration, fusion_name
from pipeline.training.calibration.report import copies_report, temperature_warnings
from pipeline.training.evaluation.probes import MeasuredSplit, compressed_reals, ladders, probes
from pipeline.training.evaluation.schema import Headline, Probes, TestReport
from pipeline.training.evaluation.skin_tone import skin_tones
from pipeline.training.evaluation.slices import (
    Report,
    Slicer,
    by_face_size,
    by_generator,
    by_skin_tone,
    by_source,
    by_surroundings,
    by_tag,
    by_threshold,
    by_verdict,
    by_view,
    counts,
    coverage,
    headline,
    six_reports,
)
from pipeline.training.scoring.copies import pool_of, score_copies
from pipeline.training.scoring.headline import counts_line, few_people, frames, videos
from pipeline.training.scoring.scorer import decided, face_scores
from pipeline.training.store.reader import set_digest
from pipeline.views.cut import view_names

SAMPLE_ROOT = "data/sample"
SAMPLE_NOTE = (
    "embedded sample: shows that the pipeline works, says nothing about accuracy in the field"
)
OWN_DATA_NOTE = "own data"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """report: metrics/test_report.json. faces: one row per face with score and verdict."""

    report: TestReport
    faces: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Everything else that the report compares with.

    train, val: crops of the two splits. skipped: rows of skipped_*.csv. tags: rows of tags.csv.
    data_root: the data root of the run.
    """

    train: pd.DataFrame
    val: pd.DataFrame
    skipped: pd.DataFrame
    tags: pd.DataFrame
    data_root: str

    @property
    def seen(self) -> pd.DataFrame:
        """Crops of train and validation together."""
        return pd.concat([self.train, self.val], ignore_index=True)


def read_surroundings(data: Path, data_root: str) -> Surroundings:
    """Read splits, tags and lists of skipped samples below `data`. Raises ManifestError."""
    skipped = [
        pd.DataFrame(read_table(data / "manifests" / name, SkipRow))
        for name in ("skipped_videos.csv", "skipped_faces.csv")
    ]
    return Surroundings(
        train=pd.DataFrame(read_table(data / "splits/train.csv", SplitRow)),
        val=pd.DataFrame(read_table(data / "splits/val.csv", SplitRow)),
        skipped=pd.concat(skipped, ignore_index=True),
        tags=pd.DataFrame(read_table(data / "manifests/tags.csv", TagRow)),
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
    scores, seen = faces["score"].to_numpy(), around.seen
    report: dict[str, Any] = {
        "test_set": set_digest(split.store),
        "note": SAMPLE_NOTE if around.data_root == SAMPLE_ROOT else OWN_DATA_NOTE,
        "headline": headline(slicer, faces, compressed),
        "frame": slicer.metrics(frames(faces)),
        "video": slicer.metrics(videos(faces, slicer.thresholds.fake_from)),
        "report": six_reports(slicer, faces, compressed, seen, params),
        "generator": by_generator(slicer, faces),
        "view": by_view(slicer, faces, view_names(split.scorer.preprocess)),
        "source": by_source(slicer, faces, seen),
        "surroundings": by_surroundings(slicer, faces, split.decision.min_surroundings_frac),
        "face_size": by_face_size(slicer, faces),
        "skin_tone": by_skin_tone(slicer, faces, skin_tones(split.store)),
        "tag": by_tag(slicer, faces, around.tags),
        "copies": copies_report(pool_of(copies, split.decision.min_face_px), split.decision),
        "threshold": by_threshold(split.decision.thresholds, faces),
        "verdict": by_verdict(faces),
        "fusion": _both_fusions(faces, copies.stored, calibration, params),
        "probe": probes(split, scores, around.train, params.bootstrap, params.seed),
        "ladder": ladders(split, params.ladder_faces),
        "coverage": coverage(faces, around.skipped),
    }
    report["warnings"] = [
        *few_people({"test": counts(faces), "validation": counts(around.val)}),
        *temperature_warnings(calibration),
        *_empty_slices(report["report"]),
        *_broken_probes(report["probe"]),
    ]
    return Evaluation(report=TestReport.model_validate(report), faces=faces)


def _empty_slices(six: Report) -> list[str]:
    """One line per report of the six whose number is not defined."""
    found = []
    for slice_name, part in six.items():
        number = next(name for name in ("auc", "recall", "fpr") if name in part)
        if part[number] is None:
            title = slice_name.replace("_", " ")
            found.append(f"report {title}: no {number.upper()}: {part['reason']}")
    return found


def _broken_probes(probes: Report) -> list[str]:
    """One line per probe that is not passed, or one that says why there are none."""
    parts = Probes.model_validate(probes)
    if parts.reason is not None:
        return [f"no probe was measured: {parts.reason}"]
    return [
        f"probe {name.replace('_', ' ')} is BROKEN: AUC {probe.auc:.3f}, expected {probe.limit}"
        for name, probe in parts.defined.items()
        if not probe.passed
    ]


def headline_lines(headline: Headline) -> list[str]:
    """The headline for a terminal: counts, a line per number with its interval, and reasons."""
    lines = [counts_line(headline.model_dump())]
    for name in headline.names:
        value, low, high = (_text(getattr(headline, name + end)) for end in ("", "_low", "_high"))
        lines.append(f"{name:17} {value}  ({low} to {high})")
    return [*lines, f"not defined: {headline.reason}"] if headline.reason else lines


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
