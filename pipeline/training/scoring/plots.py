"""Data files of `dvc plots show`, written by DVCLive; dvc.yaml names their titles and axes."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dvclive.live import Live
from sklearn.metrics import precision_recall_curve, roc_curve

from pipeline.core.files import replacing_folder, six_digits
from pipeline.decision.thresholds import VERDICTS
from pipeline.training.scoring.metrics import reliability

LABEL_NAMES = {0: "real", 1: "fake"}
# More points do not change the drawn curve and make the diff of a run unreadable.
MAX_POINTS = 200


@contextmanager
def live_plots(folder: Path) -> Iterator[Live]:
    """DVCLive for plots without metrics: log_table writes FOLDER/plots/custom/NAME.json.

    Earlier plots of the folder are deleted. dvc.yaml is not rewritten, no experiment is made.
    """
    with Live(str(folder), dvcyaml=None, save_dvc_exp=False) as live:
        yield live
    Path(live.metrics_file).unlink()  # DVCLive's summary of the metrics: there are none


def log_table(live: Live, name: str, table: pd.DataFrame | Sequence[dict[str, Any]]) -> None:
    """Log a table as a plot: x is its first column. The same bytes each time.

    Not log_sklearn_plot: it writes all digits, one point per face, and an infinite threshold,
    which is no JSON.
    """
    frame = pd.DataFrame(table)
    x, *y = map(str, frame.columns)
    rows = [
        {str(column): _plain(value) for column, value in row.items()}
        for row in frame.to_dict("records")
    ]
    # DVC cannot read a list without rows and silently leaves the plot out of its page.
    live.log_plot(name, rows or [dict.fromkeys((x, *y))], x, y)


def copy_plots(live: Path, folder: Path) -> None:
    """Copy the plots of a DVCLive folder into another one, in place of earlier ones."""
    with replacing_folder(folder / "plots") as temporary:
        # Not the files' modes: DVC's cache may be linked and read-only.
        shutil.copytree(
            live / "plots", temporary, copy_function=shutil.copyfile, dirs_exist_ok=True
        )


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else six_digits(value)


def write_plots(
    folder: Path, faces: pd.DataFrame, ladders: Mapping[str, Sequence[float | None]]
) -> None:
    """Write every data file of the test report.

    faces: columns label, score, verdict. ladders: AUCs by ladder, from mild to harsh.
    """
    with live_plots(folder) as live:
        log_table(live, "roc", roc_points(faces))
        log_table(live, "precision_recall", precision_recall_points(faces))
        log_table(live, "reliability", reliability_points(faces))
        log_table(live, "confusion", confusion_rows(faces))
        log_table(live, "ladder", ladder_rows(ladders))


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


def confusion_rows(faces: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per cell of the matrix: actual (real, fake), predicted (a verdict), faces (count)."""
    return [
        {
            "actual": name,
            "predicted": verdict,
            "faces": int(((faces["label"] == label) & (faces["verdict"] == verdict)).sum()),
        }
        for label, name in LABEL_NAMES.items()
        for verdict in VERDICTS
    ]


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
