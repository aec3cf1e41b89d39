"""Check that train, val and test do not overlap: `python -m stages.audit_splits`.

Reads data/splits/{train,val,test}.csv and the context crops. Exits with 1 when two splits have a
person, a video, a group or nearly the same image in common. Run by hand; not a stage of dvc.yaml.
"""

import sys
from pathlib import Path

from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow, read_rows
from pipeline.runtime.cli import run_stage
from pipeline.splits.leaks import audit_splits, table_lines

SHOWN = 20


def main() -> None:
    splits = {name: read_rows(Path(f"data/splits/{name}.csv"), SplitRow) for name in SPLITS}
    audit = audit_splits(splits, Path())
    print("\n".join(table_lines(audit, SPLITS)))
    if not audit.across:
        print("audit_splits: no overlaps between splits")
        return
    for overlap in audit.across[:SHOWN]:
        print(f"audit_splits: {overlap}", file=sys.stderr)
    print(f"audit_splits: {len(audit.across)} overlaps between splits", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    run_stage(main)
