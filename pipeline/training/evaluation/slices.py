"""The slices of the test report; a slice without data is null and has a reason.

Every table has one row per face: the manifest's columns, `score`, `verdict` and `view_score_<k>`
(`pipeline.training.scoring.scorer.decided`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.labels import FAKE, REAL
from pipeline.decision.thresholds import Thresholds
from pipeline.runtime.sections import EvaluateParams
from pipeline.training.scoring.metrics import (
    Statistic,
    area_under_roc,
    binary_metrics,
    bootstrap_interval,
    rates_at,
)

Report = dict[str, Any]
GENERATORS = ("inswapper", "uniface", "pseudo")
VIDEO_KEY = ["source", "video_id"]
BRIEF = ("auc", "ap", "recall", "fpr", "brier", "ece", "reason")


@dataclass(frozen=True)
class Slicer:
    """Reports on tables of faces, with given thresholds, bootstrap draws and seed."""

    thresholds: Thresholds
    draws: int
    seed: int

    def metrics(self, table: pd.DataFrame) -> Report:
        """All metrics of a table; with `reason` if a class is absent."""
        found: Report = dict(
            binary_metrics(table["label"], table["score"], self.thresholds.fake_from)
        )
        absent = [name for name in ("real", "fake") if not found[f"n_{name}"]]
        if absent:
            found["reason"] = f"no {' and no '.join(absent)} faces"
        return found

    def brief(self, table: pd.DataFrame) -> Report:
        """The few metrics for comparing variants of one detector."""
        found = self.metrics(table)
        return {name: found[name] for name in BRIEF if name in found}

    def interval(
        self, name: str, statistic: Statistic, table: pd.DataFrame, column: str = "score"
    ) -> Report:
        """A number with its bootstrap interval by group: name, name_low, name_high."""
        labels, scores = table["label"].to_numpy(), table[column].to_numpy()
        try:
            value = statistic(labels, scores)
        except ValueError as error:
            return absent(str(error), name, f"{name}_low", f"{name}_high")
        bounds = bootstrap_interval(
            statistic, labels, scores, table["group"], draws=self.draws, seed=self.seed
        )
        low, high = bounds or (None, None)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def flagged(self, name: str, table: pd.DataFrame) -> Report:
        """Fraction flagged fake: the recall of fakes, the false positive rate of reals."""
        return self.interval(name, _mean, table, "called")


def _mean(_labels: NDArray[np.int64], called: NDArray[np.float64]) -> float:
    if not len(called):
        raise ValueError("no such faces in the test split")
    return float(called.mean())


def absent(reason: str, *names: str) -> Report:
    return {**dict.fromkeys(names), "reason": reason}


def frames(faces: pd.DataFrame) -> pd.DataFrame:
    """One row per frame, that of its highest-scoring face."""
    key = [*VIDEO_KEY, "frame_index"]
    return faces.sort_values("score").drop_duplicates(key, keep="last").sort_index()


def videos(faces: pd.DataFrame) -> pd.DataFrame:
    """One row per video with the mean of its frames' scores; an image is a video of one frame.

    The key is (source, video_id), because folder names alone collide.
    """
    by_frame = frames(faces)
    means = by_frame.groupby(VIDEO_KEY)["score"].mean()
    first = by_frame.drop_duplicates(VIDEO_KEY).set_index(VIDEO_KEY)
    return first.assign(score=means).reset_index().sort_values(VIDEO_KEY, ignore_index=True)


def headline(slicer: Slicer, faces: pd.DataFrame, compressed: pd.DataFrame) -> Report:
    """The most important numbers, each with its interval."""
    reals, swaps = faces[faces["label"] == REAL], faces[faces["is_inswapper"] == 1]
    parts = (
        slicer.interval("auc", area_under_roc, faces),
        slicer.interval("video_auc", area_under_roc, videos(faces)),
        slicer.flagged("recall", faces[faces["label"] == FAKE]),
        slicer.flagged("inswapper_recall", swaps),
        slicer.flagged("fpr", reals),
        slicer.flagged("compressed_fpr", compressed),
    )
    reasons = sorted({part["reason"] for part in parts if "reason" in part})
    report = {name: value for part in parts for name, value in part.items() if name != "reason"}
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
        "inswapper": slicer.flagged("recall", swaps) | {"n_fake": len(swaps)},
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
            "n_real": len(reals),
            "n_fake": len(fakes),
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
        else absent("no such face in the test split", "auc", "recall", "fpr")
        for name, chosen in (("open", is_open), ("tight", ~is_open))
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
    return slicer.flagged("fpr", reals) | {"n_real": len(reals)}


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
