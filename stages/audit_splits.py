"""Stop the run if two splits have a person, a video, a group or nearly the same image in common.

deps: data/splits/{train,val,test}.csv, data/crops   params: audit, split_groups.link_sources
outs: metrics/audit.json
A failed audit writes data/audit/leaks.csv and, for near-duplicates, data/audit/identities.csv.
"""

import shutil
from pathlib import Path

from pipeline.core.files import write_json
from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow
from pipeline.core.tables import read_table
from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import LeakError
from pipeline.runtime.params import load_params
from pipeline.runtime.workers import worker_count
from pipeline.splits.leaks import audit_splits, result_lines
from pipeline.splits.remedies import explain

REPORT = Path("metrics/audit.json")
DETAILS = Path("data/audit")


def main() -> None:
    params = load_params()
    # The report exists only after a passed audit, because all later stages depend on it.
    REPORT.unlink(missing_ok=True)
    shutil.rmtree(DETAILS, ignore_errors=True)
    splits = {name: read_table(Path(f"data/splits/{name}.csv"), SplitRow) for name in SPLITS}
    link_sources = params.split_groups.link_sources
    audit = audit_splits(splits, Path(), params.audit, worker_count(), link_sources=link_sources)
    report = audit.report(params.audit.near_bits)
    for line in result_lines(audit, report, SPLITS):
        print(f"audit_splits: {line}")
    if audit.leaks:
        raise LeakError(explain(audit.leaks, splits, Path(params.data.root), DETAILS))
    write_json(REPORT, report.model_dump())


if __name__ == "__main__":
    run_stage(main)
