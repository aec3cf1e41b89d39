"""A split in memory of drawn people and their swaps, and a network that is easy to follow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.core.arrays import ImageU8
from pipeline.training.store.reader import FaceStore
from pipeline.views.preprocess import Preprocess
from tests.support.manifest_rows import crop_row
from tests.support.synthetic import draw_face, swap_face

PREPROCESS = Preprocess(size_px=64, scales=(1.1, 1.5, 2.0), aligned=True)


@dataclass(frozen=True)
class _Face:
    rgb: ImageU8
    row: dict[str, Any]


@dataclass(frozen=True)
class DrawnImages:
    """Images of a store in memory."""

    crops: list[ImageU8]
    contexts: list[ImageU8]

    def crop(self, row: int) -> ImageU8:
        return self.crops[row]

    def context(self, face: int) -> ImageU8:
        return self.contexts[face]

    def context_size(self, face: int) -> tuple[int, int]:
        height, width, _ = self.contexts[face].shape
        return height, width

    def mask(self, _face: int) -> ImageU8 | None:
        return None


class SharpnessNet(nn.Module):
    """Flags smooth crops: logits fall with the mean difference between neighbouring pixels."""

    def __init__(self, gain: float = 20.0, middle: float = 0.12) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.middle = nn.Parameter(torch.tensor(middle))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        step = (x[..., 1:] - x[..., :-1]).abs().mean(dim=(1, 2, 3))
        logit = self.gain * (self.middle - step)
        maps = nn.functional.adaptive_avg_pool2d(x.mean(dim=1, keepdim=True), 32).squeeze(1)
        return {
            "real_fake": logit,
            "inswapper": logit - 0.5,
            "boundary": 0.5 * logit,
            "quality": torch.stack([logit, 0 * logit, -logit], dim=1),
            "seam_map": maps,
        }


def drawn_store(
    people: int = 4, frames: int = 2, *, kinds: tuple[str, ...] = ("inswapper",), **row: Any
) -> FaceStore:
    """A real video per person, and a swap of it per kind. row: values of columns in all rows."""
    faces = [
        face
        for person in range(people)
        for frame in range(frames)
        for face in _faces(person, frame, kinds, row)
    ]
    crops = [
        PREPROCESS.crop(face.rgb, _box(face.row), scale)
        for face in faces
        for scale in PREPROCESS.scales
    ]
    table = pd.DataFrame(
        [{**face.row, "crop_scale": scale} for face in faces for scale in PREPROCESS.scales]
    )
    face_rows = table.drop_duplicates("face_id").reset_index(drop=True)
    return FaceStore(
        table=table,
        faces=face_rows,
        face_of_crop=np.repeat(np.arange(len(faces)), len(PREPROCESS.scales)),
        images=DrawnImages(crops, [face.rgb for face in faces]),
    )


def _faces(person: int, frame: int, kinds: tuple[str, ...], common: dict[str, Any]) -> list[_Face]:
    drawn = draw_face(person, face_px=90 + 10 * (person % 2), scenery=7 * person + frame)
    x0, y0, x1, y1 = (float(value) for value in drawn.box_xyxy)
    place = {
        "identity_id": f"p{person}",
        "frame_index": frame,
        "timestamp_s": frame / 25,
        "context_x": 0.0,
        "context_y": 0.0,
        "face_px": max(x1 - x0, y1 - y0),
        **dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), (x0, y0, x1, y1), strict=True)),
        **{
            f"kp{point}_{axis}": round(float(drawn.keypoints[point, number]), 3)
            for point in range(5)
            for number, axis in enumerate("xy")
        },
    }
    faces = [_Face(drawn.rgb, _row(place, common, video_id=f"p{person}"))]
    for kind in kinds:
        rgb, _ = swap_face(drawn, 100 + person)
        swap = {
            "video_id": f"{kind}/p{person}",
            "source": kind,
            "label": 1,
            "fake_type": kind,
            "is_inswapper": int(kind == "inswapper"),
            "source_identity_id": f"donor{person}",
            "original_video_id": f"p{person}",
            "paired": 1,
        }
        faces.append(_Face(rgb, _row(place, common, **swap)))
    return faces


def _row(place: dict[str, Any], common: dict[str, Any], **own: Any) -> dict[str, Any]:
    values = {**place, **own, **common}
    values["face_id"] = f"{values['video_id']}/{values['frame_index']:06d}_0"
    return {**crop_row(**values).model_dump(), "group": values["identity_id"]}


def _box(row: dict[str, Any]) -> np.ndarray:
    return np.array([row[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1")], np.float32)
