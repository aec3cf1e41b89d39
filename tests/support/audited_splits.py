"""Splits of drawn faces, and parameters for their audit."""

from pathlib import Path
from typing import Any

import cv2
import yaml

from pipeline.core.labels import SPLITS
from pipeline.core.manifest import SplitRow, write_rows
from pipeline.runtime.sections import AuditParams
from pipeline.splits.leaks import Audit, audit_splits
from tests.support.imports import ROOT
from tests.support.manifest_rows import crop_row
from tests.support.split_rows import tables_of
from tests.support.synthetic import draw_face, write_rgb

PARAMS = AuditParams(allow=[], near_bits=4)


def allowing(*entries: str) -> AuditParams:
    return AuditParams(allow=list(entries), near_bits=4)


def row(root: Path, name: str, person: int, **changes: Any) -> SplitRow:
    """A row with its own person, video and group, whose image is below root."""
    context = f"data/crops/{name}_context.png"
    if not (root / context).exists():
        write_rgb(root / context, draw_face(person, face_px=90).rgb)
    origin = {"video_id": name, "identity_id": name, "face_id": f"{name}/0", "group": name}
    crop = crop_row().model_dump() | {"context_path": context} | origin | changes
    return SplitRow.model_validate(crop)


def copy_of(
    person: int,
    root: Path,
    video: str,
    number: int,
    *,
    scale: float = 1.0,
    jpeg: int = 0,
    **changes: Any,
) -> SplitRow:
    """Row of a copy of `row`'s image of a person, in a video of another name.

    number: of the face in the video. scale, jpeg: size and JPEG quality of the copy; 0: lossless.
    """
    rgb = draw_face(person, face_px=90).rgb
    rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if jpeg:
        _, coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, jpeg])
        rgb = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    write_rgb(root / f"data/crops/{video}{number}_context.png", rgb)
    named = {"video_id": video, "identity_id": video, "group": video}
    return row(
        root, f"{video}{number}", person, **named | {"face_id": f"{video}/{number}"} | changes
    )


def clean(root: Path) -> dict[str, list[SplitRow]]:
    """One person per split, with two scales of one face."""
    return {
        split: [row(root, split, person, crop_scale=scale) for scale in (1.1, 1.5)]
        for person, split in enumerate(SPLITS)
    }


def write_splits(
    root: Path, splits: dict[str, list[SplitRow]], allow: list[str] | None = None
) -> None:
    """Write data/splits/*.csv and the repository's params.yaml with this audit.allow."""
    for name, rows in splits.items():
        write_rows(root / f"data/splits/{name}.csv", rows, SplitRow)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["audit"]["allow"] = allow or []
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def audited(
    splits: dict[str, list[SplitRow]], root: Path, params: AuditParams = PARAMS, **options: Any
) -> Audit:
    """`audit_splits` of rows."""
    return audit_splits(tables_of(splits), root, params, **options)
