"""The slices of the test report; a slice without data is null and has a reason.

Every table has one row per face: the manifest's columns, `score`, `verdict` and `view_score_<k>`
(`pipeline.training.scoring.scorer.decided`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.labels import FAKE, REAL
from pipeline.decision.thresholds import Thresholds
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.evaluation.skin_tone import SKIN_TONES
from pipeline.training.scoring.headline import (
    VIDEO_KEY,
    Measure,
    auc,
    flagged,
    headline_measures,
)
from pipeline.training.scoring.metrics import (
    binary_metrics,
    bootstrap_interval,
    class_counts,
    rates_at,
)

Report = dict[str, Any]
GENERATORS = ("inswapper", "uniface", "pseudo")
# Lower ends of the classes of face sizes, px; the first class is everything below.
FACE_SIZES_PX = (96, 160, 256)
NOBODY = "no such face in the test split"
BRIEF = ("auc", "ap", "recall", "fpr", "brier", "ece", "reason")


@dataclass(frozen=True)
class Slicer:
    """Reports on tables of faces, with given thresholds, bootstrap draws and seed."""

    thresholds: Thresholds
    draws: int
    seed: int

    def metrics(self, table: pd.DataFrame) -> Report:
        """All metrics of a table; with `reason` if a class is absent."""
        found: Report = {
            **binary_metrics(table["label"], table["score"], self.thresholds.fake_from),
            **counts(table),
        }
        if reason := _absent_classes(found):
            found["reason"] = reason
        return found

    def brief(self, table: pd.DataFrame) -> Report:
        """The few metrics for comparing variants of one detector."""
        found = self.metrics(table)
        return {name: found[name] for name in BRIEF if name in found}

    def interval(self, name: str, measure: Measure) -> Report:
        """A number with its bootstrap interval by group: name, name_low, name_high."""
        try:
            value = measure.value()
        except ValueError as error:
            return absent(str(error), name, f"{name}_low", f"{name}_high")
        columns = [measure.table[column] for column in measure.columns]
        bounds = bootstrap_interval(
            measure.statistic, columns, measure.table["group"], draws=self.draws, seed=self.seed
        )
        low, high = bounds or (None, None)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def sliced(self, table: pd.DataFrame) -> Report:
        """Counts, AUC, recall and FPR of a slice, with intervals; `reason` if a class is absent."""
        parts = (
            self.interval("auc", auc(table)),
            self.interval("recall", flagged(table[table["label"] == FAKE])),
            self.interval("fpr", flagged(table[table["label"] == REAL])),
        )
        report = counts(table) | {k: v for part in parts for k, v in part.items() if k != "reason"}
        reason = _absent_classes(report)
        return report | {"reason": reason} if reason else report


def counts(table: pd.DataFrame) -> Report:
    """Numbers of faces and of independent groups, per class."""
    return dict(class_counts(table["label"], table["group"]))


def _absent_classes(found: Report) -> str:
    lacking = [name for name in ("real", "fake") if not found[f"n_{name}"]]
    return f"no {' and no '.join(lacking)} faces" if lacking else ""


def absent(reason: str, *names: str) -> Report:
    return {**dict.fromkeys(names), "reason": reason}


def headline(slicer: Slicer, faces: pd.DataFrame, compressed: pd.DataFrame) -> Report:
    """The most important numbers, each with its interval, and the numbers of faces and groups."""
    measures = headline_measures(faces, slicer.thresholds.fake_from)
    measures["compressed_fpr"] = flagged(compressed)
    report, reasons = counts(faces), []
    for name, measure in measures.items():
        part = slicer.interval(name, measure)
        if "reason" in part:
            reasons.append(f"{name}: {part.pop('reason')}")
        report |= part
    return {**report, "reason": "; ".join(reasons)} if reasons else report


def six_reports(
    slicer: Slicer,
    faces: pd.DataFrame,
    compressed: pd.DataFrame,
    seen: pd.DataFrame,
    params: EvaluateParams,
) -> Report:
    """The six reports of the recipe.

    compressed: the real faces after JPEG. seen: crops of the train and validation splits.
    """
    swaps = faces[faces["is_inswapper"] == 1]
    low = (faces["face_px"] < params.low_quality_px) | (faces["quality_label"] == 2)
    return {
        "clean_real": _real_report(slicer, faces[faces["label"] == REAL]),
        "compressed_real": _compressed_report(slicer, faces[faces["label"] == REAL], compressed),
        "inswapper": slicer.interval("recall", flagged(swaps)) | _of("fake", swaps),
        "low_quality": _sliced(slicer, faces[low], "no face of low quality in the test split"),
        "unseen_identity": _unseen_identity(slicer, faces, seen),
        "unseen_source": _unseen_source(slicer, faces, seen),
    }


def by_generator(slicer: Slicer, faces: pd.DataFrame) -> Report:
    """Metrics of each kind of fake against all reals."""
    reals = faces[faces["label"] == REAL]
    report: Report = {}
    for name in GENERATORS:
        fakes = faces[faces["fake_type"] == name]
        report[name] = (
            slicer.metrics(pd.concat([reals, fakes]))
            if len(fakes)
            else absent(f"no {name} fakes in the test split", "auc", "recall")
        )
    return report


def by_view(slicer: Slicer, faces: pd.DataFrame, names: Iterable[str]) -> Report:
    """Metrics of each view alone, including the tree score if the fusion uses it."""
    return {
        name: slicer.brief(faces.assign(score=faces[f"view_score_{index}"]))
        for index, name in enumerate(names)
    }


def by_source(slicer: Slicer, faces: pd.DataFrame, seen: pd.DataFrame) -> Report:
    """Metrics per source, because cameras differ more than people do."""
    known = set(seen["source"])
    report: Report = {}
    for name, rows in faces.groupby("source"):
        reals, fakes = rows[rows["label"] == REAL], rows[rows["label"] == FAKE]
        report[str(name)] = {
            "in_training": int(name in known),
            **counts(rows),
            "auc": slicer.metrics(rows)["auc"],
            "fpr": _share(reals["called"]),
            "recall": _share(fakes["called"]),
            "undecided": _share(rows["verdict"] == "undecided"),
        }
    return report


def by_surroundings(slicer: Slicer, faces: pd.DataFrame, least: float) -> Report:
    """Metrics of faces with surroundings (open) and of faces that fill the image (tight)."""
    is_open = faces["surroundings"] >= least
    return {
        name: slicer.metrics(rows) | {"undecided": _share(rows["verdict"] == "undecided")}
        if len(rows := faces[chosen])
        else absent(NOBODY, "auc", "recall", "fpr")
        for name, chosen in (("open", is_open), ("tight", ~is_open))
    }


def by_face_size(slicer: Slicer, faces: pd.DataFrame) -> Report:
    """Slices by the longer side of the face box, in pixels of the image."""
    names = [
        f"<{FACE_SIZES_PX[0]} px",
        *(f"{low}-{high} px" for low, high in pairwise(FACE_SIZES_PX)),
        f">={FACE_SIZES_PX[-1]} px",
    ]
    sizes = np.searchsorted(FACE_SIZES_PX, faces["face_px"], side="right")
    return {name: slicer.sliced(faces[sizes == index]) for index, name in enumerate(names)}


def by_skin_tone(slicer: Slicer, faces: pd.DataFrame, tones: NDArray[np.str_]) -> Report:
    """Slices by skin tone. tones: (faces,) names (`skin_tone.skin_tones`)."""
    return {name: slicer.sliced(faces[tones == name]) for name in SKIN_TONES}


def by_tag(slicer: Slicer, faces: pd.DataFrame, tags: pd.DataFrame) -> Report:
    """Slices `tag: value` of every value in `tags` (columns video_id, tag, value).

    A fake without tags has those of its original video.
    """
    tagged = set(tags["video_id"])
    own = faces["video_id"].isin(tagged) | (faces["label"] == REAL)
    videos = faces["video_id"].where(own, faces["original_video_id"])
    return {
        f"{tag}: {value}": slicer.sliced(faces[videos.isin(set(rows["video_id"]))])
        for (tag, value), rows in tags.groupby(["tag", "value"])
    }


def _share(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None


def by_threshold(thresholds: Thresholds, faces: pd.DataFrame) -> Report:
    """Rates at each operating point."""
    return {
        name: {"value": value, **rates_at(faces["label"], faces["score"], value)}
        for name, value in thresholds.model_dump().items()
    }


def by_verdict(faces: pd.DataFrame) -> Report:
    """Fractions of the verdicts among real and among fake faces."""
    report: Report = {}
    for name, label in (("real", REAL), ("fake", FAKE)):
        verdicts = faces.loc[faces["label"] == label, "verdict"]
        report[name] = {
            verdict: float((verdicts == verdict).mean()) if len(verdicts) else None
            for verdict in ("real", "suspicious", "fake", "undecided")
        }
    return report


def coverage(faces: pd.DataFrame, skipped: pd.DataFrame) -> Report:
    """Numbers of test faces and of left-out samples of the same videos, which are never scored.

    skipped: rows of skipped_*.csv (columns video_id, reason). Videos without any face
    belong to no split; they are counted separately, as are those of other splits.
    """
    inside = skipped["video_id"].isin(set(faces["video_id"]))
    reasons = skipped.loc[inside, "reason"].value_counts().sort_index()
    left_out = int(inside.sum())
    return {
        "faces": len(faces),
        "videos": len(faces[VIDEO_KEY].drop_duplicates()),
        "groups": int(faces["group"].nunique()),
        "left_out": left_out,
        "coverage": len(faces) / (len(faces) + left_out),
        "left_out_elsewhere": int((~inside).sum()),
        "reasons": {str(name): int(count) for name, count in reasons.items()},
    }


def _real_report(slicer: Slicer, reals: pd.DataFrame) -> Report:
    return slicer.interval("fpr", flagged(reals)) | _of("real", reals)


def _of(kind: str, table: pd.DataFrame) -> Report:
    """The counts of one class."""
    return {name: count for name, count in counts(table).items() if name.endswith(kind)}


def _compressed_report(slicer: Slicer, reals: pd.DataFrame, compressed: pd.DataFrame) -> Report:
    report = _real_report(slicer, compressed)
    clean = _real_report(slicer, reals)["fpr"]
    if report["fpr"] is None or clean is None:
        return report
    report |= {"clean_fpr": clean, "at_most_twice_clean": int(report["fpr"] <= 2 * clean)}
    if not clean:
        return report | absent("no clean real face was flagged fake", "times_clean")
    return report | {"times_clean": report["fpr"] / clean}


def _unseen_identity(slicer: Slicer, faces: pd.DataFrame, seen: pd.DataFrame) -> Report:
    known = set(seen["identity_id"]) | (set(seen["source_identity_id"]) - {""})
    unseen = ~(faces["identity_id"].isin(known) | faces["source_identity_id"].isin(known))
    report = _sliced(slicer, faces[unseen], "every test identity also occurs in training")
    return report | {"seen_in_training_frac": float((~unseen).mean())}


def _unseen_source(slicer: Slicer, faces: pd.DataFrame, seen: pd.DataFrame) -> Report:
    unseen = ~faces["source"].isin(set(seen["source"]))
    names = ", ".join(sorted(set(faces["source"])))
    return _sliced(slicer, faces[unseen], f"every test source also occurs in training ({names})")


def _sliced(slicer: Slicer, table: pd.DataFrame, reason: str) -> Report:
    return slicer.metrics(table) if len(table) else absent(reason, "auc", "recall", "fpr")
