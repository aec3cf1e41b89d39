"""A small split of drawn faces on disk: real faces and their swaps, at every crop scale."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.manifest import SplitRow, write_rows
from pipeline.runtime.params import Params, load_params
from pipeline.training.store.packing import pack
from pipeline.training.store.reader import FaceStore, open_zarr
from pipeline.views.preprocess import Preprocess
from tests.support.imports import ROOT
from tests.support.manifest_rows import crop_row
from tests.support.synthetic import DrawnFace, alpha_u8, draw_face, swap_face, write_rgb

# Makes a fake and its opacity from a face and the number of another person.
Swap = Callable[[DrawnFace, int], tuple[ImageU8, FloatArray]]

# Of a context in its frame: x, y.
OFFSET = (10, 20)
PREPROCESS = Preprocess(size_px=64, scales=(1.1, 1.5, 2.0))


def drawn_params(**changes: dict[str, Any]) -> Params:
    """The repository's parameters for the drawn faces. changes: values for each section."""
    params = load_params(ROOT / "params.yaml").model_dump(mode="json")
    drawn: dict[str, dict[str, Any]] = {
        "preprocess": {"size_px": PREPROCESS.size_px, "scales": list(PREPROCESS.scales)},
        # The drawn faces are small; with the default none would be resized.
        "pseudo_swap": {"square_min_px": 80},
    }
    for section, values in (*drawn.items(), *changes.items()):
        params[section] |= values
    return Params.model_validate(params)


def write_split(
    root: Path,
    *,
    people: int = 2,
    frames: int = 2,
    first_person: int = 0,
    preprocess: Preprocess = PREPROCESS,
    fakes: bool = True,
    swap: Swap = swap_face,
) -> Path:
    """Write images and root/split.csv; return the CSV's path."""
    rows: list[SplitRow] = []
    for person in range(first_person, first_person + people):
        for frame in range(frames):
            face = draw_face(
                person, height=150, width=150 + frame, face_px=72, roll_deg=5 * frame, scenery=frame
            )
            rows += _rows(root, preprocess, face, person, frame, face.rgb, None)
            if fakes:
                swapped, alpha = swap(face, person + 50)
                rows += _rows(root, preprocess, face, person, frame, swapped, alpha_u8(alpha))
    path = root / "split.csv"
    write_rows(path, rows, SplitRow)
    return path


def packed_split(root: Path, **options: Any) -> FaceStore:
    """Write the same split as a Zarr group and open it."""
    preprocess = options.get("preprocess", PREPROCESS)
    pack(write_split(root, **options), root / "split.zarr", preprocess, crops_per_shard=8)
    return open_zarr(root / "split.zarr")


def _rows(
    root: Path,
    preprocess: Preprocess,
    face: DrawnFace,
    person: int,
    frame: int,
    rgb: ImageU8,
    mask: ImageU8 | None,
) -> list[SplitRow]:
    """Write the crops of one face and return their rows; a face with a mask is a fake."""
    video = f"p{person}" if mask is None else f"inswapper/p{person}"
    stem = root / "crops" / video / f"{frame:06d}"
    write_rgb(stem.with_name(stem.name + "_context.png"), rgb)
    if mask is not None:
        cv2.imwrite(f"{stem}_mask.png", mask)
    # Crops that extend beyond the context are mirrored at its sides, as at those of a frame.
    whole = np.pad(rgb, ((OFFSET[1], 0), (OFFSET[0], 0), (0, 0)), mode="reflect")
    write_rgb(root / "frames" / video / f"{frame:06d}.png", whole)
    rows = []
    for scale in preprocess.scales:
        rows.append(
            crop_row(
                **_origin(person, fake=mask is not None),
                video_id=video,
                face_id=f"{video}/{frame:06d}",
                frame_index=frame,
                crop_scale=scale,
                image_path=str(root / "frames" / video / f"{frame:06d}.png"),
                context_path=f"{stem}_context.png",
                mask_path="" if mask is None else f"{stem}_mask.png",
                boundary_label=int(mask is not None and scale > 1.3),
                **_geometry(face),
            )
        )
    return [SplitRow(**row.model_dump(), group=f"p{person}") for row in rows]


def _origin(person: int, *, fake: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"identity_id": f"p{person}", "boundary_source": "exact"}
    if not fake:
        return values
    return values | {
        "source": "inswapper",
        "label": 1,
        "fake_type": "inswapper",
        "is_inswapper": 1,
        "source_identity_id": f"p{person + 50}",
        "original_video_id": f"p{person}",
        "paired": 1,
    }


def _geometry(face: DrawnFace) -> dict[str, Any]:
    """Columns of box and keypoints in a frame that contains the image, unscaled, at OFFSET."""
    box = face.box_xyxy + np.tile(np.float32(OFFSET), 2)
    points = face.keypoints + np.float32(OFFSET)
    names = ("box_x0", "box_y0", "box_x1", "box_y1")
    values = {name: round(float(value), 3) for name, value in zip(names, box, strict=True)}
    for index, (x, y) in enumerate(points):
        values |= {f"kp{index}_x": round(float(x), 3), f"kp{index}_y": round(float(y), 3)}
    return values
