"""An HTML page of the crops of all splits, with filters by the columns of their rows."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from pipeline.core.labels import QUALITY_NAMES
from pipeline.core.tables import Table
from pipeline.media.images import read_image
from pipeline.runtime.errors import DecodeError, ManifestError
from pipeline.views.preprocess import Preprocess

TEMPLATE: Final = Path(__file__).with_name("crop_page.html.j2")
THUMBNAIL_PX: Final = 112
THUMBNAILS: Final = Preprocess(THUMBNAIL_PX)
JPEG_QUALITY: Final = 88
BOUNDARY_NAMES: Final = {-1: "unknown", 0: "no seam", 1: "seam"}
# The page's filters, in order.
FACETS: Final = ("split", "type", "scale", "quality", "boundary", "source", "group")
# The columns of a row that the page shows or counts.
COLUMNS: Final = [
    *("face_id", "fake_type", "crop_scale", "quality_label", "boundary_label", "boundary_source"),
    *("source", "group", "face_px", "sharpness", "blockiness", "noise_level", "context_path"),
    *("context_x", "context_y", "context_scale", "box_x0", "box_y0", "box_x1", "box_y1"),
]


def render_crop_page(splits: Mapping[str, Table], root: Path, most: int) -> str:
    """Render the page as HTML. It counts every crop and shows images of about `most` (>= 1).

    splits: tables of SplitRow. The images are of faces chosen evenly over the manifests, at all
    their scales. root: folder that the rows' paths are relative to. Raises ManifestError if there
    are no rows or a crop cannot be read.
    """
    rows = [
        (split, number, row)
        for split, table in splits.items()
        for number, row in enumerate(pd.DataFrame(table)[COLUMNS].itertuples(index=False), 2)
    ]
    if not rows:
        raise ManifestError("the splits contain no crops; run `dvc repro split_groups`")
    faces = list(dict.fromkeys(row.face_id for _, _, row in rows))
    imaged = set(faces[:: -(-len(rows) // most)])
    crops = [
        _crop(split, number, row, _thumbnail(root, row) if row.face_id in imaged else None)
        for split, number, row in rows
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(crops=crops, facets=FACETS, size_px=THUMBNAIL_PX)


def _crop(split: str, number: int, row: Any, image: str | None) -> dict[str, Any]:
    """The page's data of one crop: facets as text, a caption, and the image as base64."""
    facets = (
        split,
        row.fake_type,
        f"{row.crop_scale:g}",
        QUALITY_NAMES[row.quality_label],
        BOUNDARY_NAMES[row.boundary_label],
        row.source,
        row.group,
    )
    measures = (
        f"{row.face_px:.0f} px, sharpness {row.sharpness:.0f}, blockiness {row.blockiness:.2f},"
        f" noise {row.noise_level:.1f}, boundary by {row.boundary_source}"
    )
    return {
        "facets": facets,
        "place": f"{split}.csv row {number}",
        "face": row.face_id,
        "measures": measures,
        "image": image,
    }


def _thumbnail(root: Path, row: Any) -> str:
    try:
        context = read_image(root / row.context_path)
    except DecodeError as error:
        raise ManifestError(
            f"{row.face_id}: context_path {error}; `dvc repro split_groups` recreates it"
        ) from error
    corners = np.array([[row.box_x0, row.box_y0], [row.box_x1, row.box_y1]], np.float32)
    offset = np.array([row.context_x, row.context_y], np.float32)
    box = ((corners - offset) * np.float32(row.context_scale)).ravel()
    small = THUMBNAILS.crop(context, box, row.crop_scale)
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")
