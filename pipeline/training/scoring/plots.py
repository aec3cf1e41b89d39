"""Data files of `dvc plots show`; dvc.yaml names their titles and axes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from pipeline.core.files import replacing
from pipeline.training.scoring.metrics import reliability

LABEL_NAMES = {0: "real", 1: "fake"}
# More points do not change the drawn curve and make the diff of a run unreadable.
MAX_POINTS = 200


def write_table(path: Path, table: pd.DataFrame | Sequence[dict[str, Any]]) -> None:
    """Write a CSV: floats as %.6g, missing values as empty cells, the same bytes each time."""
    frame = pd.DataFrame(table)
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def write_plots(
    folder: Path, faces: pd.DataFrame, ladders: Mapping[str, Sequence[float | None]]
) -> None:
    """Write every data file of the test report.

    faces: columns label, score, verdict. ladders: AUCs by ladder, from mild to harsh.
    """
    write_table(folder / "roc.csv", roc_points(faces))
    write_table(folder / "precision_recall.csv", precision_recall_points(faces))
    write_table(folder / "reliability.csv", reliability_points(faces))
    write_table(folder / "confusion.csv", confusion_rows(faces))
    write_table(folder / "ladder.csv", ladder_rows(ladders))


def roc_points(faces: pd.DataFrame) -> pd.DataFrame:
    """Columns fpr, tpr, ascending; no rows when a class is absent."""
    if faces["label"].nunique() < 2:
        return pd.DataFrame({"fpr": [], "tpr": []})
    fpr, tpr, _ = roc_curve(faces["label"], faces["score"])
    return _thinned(pd.DataFrame({"fpr": fpr, "tpr": tpr}))


def precision_recall_points(faces: pd.DataFrame) -> pd.DataFrame:
    """Columns recall, precision, by ascending recall; no rows when a class is absent."""
    if faces["label"].nunique() < 2:
        return pd.DataFrame({"recall": [], "precision": []})
    precision, recall, _ = precision_recall_curve(
        faces["label"], faces["score"], drop_intermediate=True
    )
    return _thinned(pd.DataFrame({"recall": recall[::-1], "precision": precision[::-1]}))


def reliability_points(faces: pd.DataFrame) -> pd.DataFrame:
    """Columns score, fake_frac, count: one row per non-empty bin."""
    rows = reliability(faces["label"], faces["score"])
    return pd.DataFrame(rows, columns=["score", "fake_frac", "count"])


def confusion_rows(faces: pd.DataFrame) -> pd.DataFrame:
    """Columns actual (real, fake) and predicted (the verdict), one row per face, sorted."""
    rows = pd.DataFrame({"actual": faces["label"].map(LABEL_NAMES), "predicted": faces["verdict"]})
    return rows.sort_values(["actual", "predicted"], ignore_index=True)


def ladder_rows(ladders: Mapping[str, Sequence[float | None]]) -> pd.DataFrame:
    """One row per step from mild to harsh: step, and the AUC of each ladder at that step."""
    table = pd.DataFrame(ladders)
    table.insert(0, "step", np.arange(1, len(table) + 1))
    return table


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    if len(points) <= MAX_POINTS:
        return points
    kept = np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int)
    return points.iloc[kept]
