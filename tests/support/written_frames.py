"""Frames written to the paths of their rows, and runs of crop_frames on them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.manifest import CropRow, FrameRow
from pipeline.crops.cropping import CropJob, CropResult, crop_frames
from pipeline.media.images import read_image
from pipeline.runtime.params import load_params
from pipeline.views.preprocess import Preprocess
from tests.support.imports import ROOT
from tests.support.synthetic import DrawnFace, alpha_u8, draw_face, frame_row, swap_face, write_rgb

PARAMS = load_params(ROOT / "params.yaml").crop_faces
PREPROCESS = Preprocess(size_px=64)
FAKE: dict[str, Any] = {
    "video_id": "inswapper/p0",
    "source": "inswapper",
    "label": 1,
    "fake_type": "inswapper",
    "is_inswapper": 1,
    "original_video_id": "p0",
}
UNIFACE = FAKE | {"fake_type": "uniface", "is_inswapper": 0}


def crop(frames: list[FrameRow], workers: int = 1, **changes: Any) -> CropResult:
    params = PARAMS.model_copy(update=changes)
    return crop_frames(frames, CropJob(params, PREPROCESS, Path("data/crops")), workers)


def put(rgb: ImageU8, **changes: Any) -> FrameRow:
    """Write a frame to the path of its row."""
    row = frame_row(**changes)
    path = f"data/frames/{row.video_id}/{row.frame_index}.png"
    write_rgb(Path(path), rgb)
    return row.model_copy(update={"frame_path": path})


def put_real(drawn: DrawnFace | None = None, **changes: Any) -> FrameRow:
    return put((drawn or draw_face(0)).rgb, **changes)


def put_fake(drawn: DrawnFace | None = None, *, mask: bool = False, **changes: Any) -> FrameRow:
    rgb, alpha = swap_face(drawn or draw_face(0), 50)
    row = put(rgb, **(FAKE | changes))
    return with_mask(row, alpha_u8(alpha)) if mask else row


def with_mask(row: FrameRow, mask: ImageU8) -> FrameRow:
    path = row.frame_path.replace(".png", ".mask.png")
    Image.fromarray(mask).save(path)
    return row.model_copy(update={"mask_path": path})


def stored(path: str) -> ImageU8:
    return read_image(Path(path))


def box_of(row: CropRow) -> FloatArray:
    return np.array([row.box_x0, row.box_y0, row.box_x1, row.box_y1], np.float32)


def fakes(result: CropResult) -> list[CropRow]:
    return [row for row in result.rows if row.label == 1]


def bytes_below(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
