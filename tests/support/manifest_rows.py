"""Rows of crops.csv without files."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pipeline.core.manifest import CropRow, Row
from pipeline.core.tables import Table
from tests.support.drawn_heads import TEMPLATE_112
from tests.support.synthetic import REAL_ORIGIN

RowT = TypeVar("RowT", bound=Row)


def rows_of(table: Table, model: type[RowT]) -> list[RowT]:
    """The rows of a table."""
    records = zip(*(column.tolist() for column in table.values()), strict=True)
    cells = [[None if value != value else value for value in record] for record in records]
    return [model.model_validate(dict(zip(table, record, strict=True))) for record in cells]


def crop_row(**changes: Any) -> CropRow:
    values: dict[str, Any] = {
        **REAL_ORIGIN,
        "face_id": "p0/000_000004_0",
        "crop_scale": 1.5,
        "image_path": "data/crops/p0/000_000004_0_150.png",
        "context_path": "data/crops/p0/000_000004_0_context.png",
        "context_x": 10,
        "context_y": 20,
        "context_scale": 1.0,
        "boundary_label": 0,
        "boundary_source": "none",
        "paired": -1,
        "quality_label": 0,
        "face_px": 80.0,
        "sharpness": 100.0,
        "blockiness": 1.0,
        "noise_level": 2.0,
        "scene": 0,
        "frame_index": 4,
        "timestamp_s": 0.16,
        "detector": "drawn",
        "detector_score": 0.9,
        "box_x0": 30.0,
        "box_y0": 40.0,
        "box_x1": 100.0,
        "box_y1": 120.0,
    }
    for point, (x, y) in enumerate(TEMPLATE_112.tolist()):
        values |= {f"kp{point}_x": round(9 + x, 1), f"kp{point}_y": round(20 + y * 0.8, 1)}
    return CropRow.model_validate(values | changes)


def crop_rows(
    people: int = 6, *, frames: int = 3, scales: Sequence[float] = (1.1, 1.5, 2.0)
) -> list[CropRow]:
    """Rows of one real video and one INSwapper fake per person, in the order of crops.csv."""
    return list(_crop_rows(people, frames, scales))


def _crop_rows(people: int, frames: int, scales: Sequence[float]) -> Iterator[CropRow]:
    for person in range(people):
        name = f"p{person:02d}"
        kinds: list[dict[str, Any]] = [
            {"video_id": name},
            {
                "video_id": f"inswapper/{name}",
                "label": 1,
                "fake_type": "inswapper",
                "is_inswapper": 1,
                "original_video_id": name,
                "source_identity_id": f"donor{person:02d}",
                "boundary_label": 1,
                "boundary_source": "exact",
                "paired": 1,
            },
        ]
        for kind in kinds:
            for frame in range(frames):
                face_id = f"{kind['video_id']}/000_{frame:06d}_0"
                for scale in scales:
                    yield crop_row(
                        **kind,
                        identity_id=name,
                        face_id=face_id,
                        frame_index=frame,
                        timestamp_s=frame / 25,
                        crop_scale=scale,
                        image_path=f"data/crops/{face_id}_{round(100 * scale)}.png",
                        context_path=f"data/crops/{face_id}_context.png",
                    )
