"""Results per epoch: choice of the best epoch, history.csv and DVCLive."""

import csv
import io
from pathlib import Path
from typing import Any

from dvclive.live import Live

from pipeline.core.files import replacing
from pipeline.core.labels import FAKE_TYPES
from pipeline.training.pairs.sampler import kinds_line

# One row of history.csv: the results of an epoch by column.
EpochRow = dict[str, Any]


def best_row(history: list[EpochRow]) -> EpochRow:
    """The epoch with the best product metric, then the lowest validation loss, then the first."""
    return max(history, key=merit)


def merit(row: EpochRow) -> tuple[float, float]:
    """Key by which epochs are compared; higher is better."""
    return float(row["val_product"]), -float(row["val_loss"])


def write_history(path: Path, rows: list[EpochRow]) -> None:
    """Write a CSV with one row per epoch and floats as %.6g."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(
        [f"{value:.6g}" if isinstance(value, float) else value for value in row.values()]
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


def log_live(live: Live, row: EpochRow) -> None:
    """Log an epoch as a step of DVCLive; names become folders, as in train/total and val/auc."""
    live.step = row["epoch"]
    for name, value in row.items():
        if isinstance(value, float):
            live.log_metric(name.replace("_", "/", 1), float(f"{value:.6g}"))
    live.make_summary()  # type: ignore[no-untyped-call]
