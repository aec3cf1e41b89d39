"""Results per epoch: choice of the best epoch, history.csv and DVCLive."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from dvclive.live import Live

from pipeline.core.files import replacing, six_digits
from pipeline.core.labels import FAKE_TYPES
from pipeline.training.pairs.sampler import kinds_line
from pipeline.training.scoring.plots import log_table

# Results of an epoch by name: a row of history.csv and, as SWEEP, a list of rates by threshold.
EpochRow = dict[str, Any]
SWEEP: Final = "val_sweep"


def best_row(history: list[EpochRow]) -> EpochRow:
    """The epoch with the best product metric, then the lowest validation loss, then the first."""
    return max(history, key=merit)


def merit(row: EpochRow) -> tuple[float, float]:
    """Key by which epochs are compared; higher is better."""
    return float(row["val_product"]), -float(row["val_loss"])


def write_history(path: Path, rows: list[EpochRow]) -> None:
    """Write a CSV with one row per epoch and floats as %.6g, without the threshold sweeps."""
    stream = io.StringIO()
    columns = [name for name in rows[0] if name != SWEEP]
    writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        {n: f"{value:.6g}" if isinstance(value, float) else value for n, value in row.items()}
        for row in rows
    )
    with replacing(path) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8")


def summary(row: EpochRow, epochs: int) -> str:
    """Log line of an epoch."""
    return (
        f"epoch {row['epoch']:2d}/{epochs}  {row['phase']}  loss {row['train_total']:.4f}"
        f"  val loss {row['val_loss']:.4f}  auc {row['val_auc']:.4f}"
        f"  product {row['val_product']:.4f}  lr {row['lr']:.2e}"
        f"  fakes {kinds_line({kind: row[f'pairs_{kind}'] for kind in FAKE_TYPES})}"
    )


def log_live(live: Live, history: Sequence[EpochRow]) -> None:
    """Log the last epoch as a step of DVCLive, and the threshold sweeps of all epochs as a plot.

    Names of metrics become folders, as in train/total and val/auc.
    """
    row = history[-1]
    live.step = row["epoch"]
    for name, value in row.items():
        if isinstance(value, float):
            live.log_metric(name.replace("_", "/", 1), six_digits(value))
    sweeps = [{"epoch": row["epoch"], **rates} for row in history for rates in row[SWEEP]]
    table = pd.DataFrame(sweeps)[["threshold", "product", "recall", "fpr", "epoch"]]
    log_table(live, "threshold_sweep", table)
    live.make_summary()  # type: ignore[no-untyped-call]
