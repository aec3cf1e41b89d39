"""What is known of each epoch: which is the best, and how it is written down."""

import csv
import io
from pathlib import Path
from typing import Any

from dvclive.live import Live

# One epoch in history.csv.
Row = dict[str, Any]


def best_row(history: list[Row]) -> Row:
    """The epoch with the best product metric, then the lowest validation loss, then the first."""
    return max(history, key=merit)


def merit(row: Row) -> tuple[float, float]:
    """What epochs are compared by; higher is better."""
    return float(row["val_product"]), -float(row["val_loss"])


def write_history(path: Path, rows: list[Row]) -> None:
    """A CSV with one row an epoch, floats as %.6g."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(
        [f"{value:.6g}" if isinstance(value, float) else value for value in row.values()]
        for row in rows
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(stream.getvalue(), encoding="utf-8")
    temporary.replace(path)


def summary(row: Row, epochs: int) -> str:
    """One line for the log."""
    return (
        f"epoch {row['epoch']:2d}/{epochs}  {row['phase']}  loss {row['train_total']:.4f}"
        f"  val loss {row['val_loss']:.4f}  auc {row['val_auc']:.4f}"
        f"  product {row['val_product']:.4f}  lr {row['lr']:.2e}"
    )


def log_live(live: Live, row: Row) -> None:
    """One step of DVCLive, numbered as the epoch; names become folders: train/total, val/auc."""
    live.step = row["epoch"]
    for name, value in row.items():
        if isinstance(value, float):
            live.log_metric(name.replace("_", "/", 1), float(f"{value:.6g}"))
    live.make_summary()  # type: ignore[no-untyped-call]
