"""Crops to assign to splits, and parameters for it."""

from collections.abc import Mapping, Sequence

from pipeline.core.manifest import CropRow, SplitRow
from pipeline.core.tables import Table, table_of
from pipeline.runtime.sections import SplitGroupsParams
from pipeline.splits.groups import assign_groups, find_groups
from tests.support.manifest_rows import crop_row, rows_of

PARAMS = SplitGroupsParams(
    seed=7, val_frac=0.22, test_frac=0.22, test_sources=[], link_sources=True
)


def row(
    identity: str,
    *,
    video: str = "",
    fake: str = "",
    donor: str = "",
    original: str = "",
    source: str = "videos",
) -> CropRow:
    """One crop; by default of a video of that person only."""
    return crop_row(
        source=source,
        identity_id=identity,
        video_id=video or f"video of {identity}",
        label=int(bool(fake)),
        fake_type=fake or "real",
        is_inswapper=int(fake == "inswapper"),
        source_identity_id=donor,
        original_video_id=original,
    )


def split_of(divided: dict[str, list[SplitRow]]) -> dict[str, str]:
    return {r.group: name for name, rows in divided.items() for r in rows}


def holding_out(*sources: str) -> SplitGroupsParams:
    return PARAMS.model_copy(update={"test_sources": list(sources)})


def divided_rows(rows: Sequence[CropRow], params: SplitGroupsParams) -> dict[str, list[SplitRow]]:
    """`assign_groups` of rows."""
    divided = assign_groups(table_of(rows, CropRow), params)
    return {name: rows_of(table, SplitRow) for name, table in divided.items()}


def groups_of(rows: Sequence[CropRow]) -> dict[str, str]:
    """`find_groups` of rows."""
    return find_groups(table_of(rows, CropRow))


def tables_of(splits: Mapping[str, Sequence[SplitRow]]) -> dict[str, Table]:
    """Rows of splits as tables."""
    return {name: table_of(rows, SplitRow) for name, rows in splits.items()}
