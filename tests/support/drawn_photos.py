"""Photos of drawn people in the folders of two sources, and parameters to import them."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.training.photos.params import PhotoImportParams
from tests.support.synthetic import draw_face, draw_scenery

PARAMS = PhotoImportParams(
    seed=20,
    sources=(),
    detector="retinaface",
    pack="none",
    min_score=0.5,
    min_face_px=40,
    max_side_px=400,
    hull_frac=0.0,
    reencode=True,
    embedder=None,
    same_person=0.95,
    exclude=(),
)


def changed(**changes: object) -> PhotoImportParams:
    return PARAMS.model_copy(update=changes)


def draw(path: Path, person: int, *, face_px: float = 110, quality: int = 87) -> None:
    """Write a drawn person in the format of the suffix; JPEG has 4:4:4 colour below quality 80."""
    rgb = draw_face(person, height=240, width=280, face_px=face_px).rgb
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {} if path.suffix == ".png" else {"quality": quality, "subsampling": quality >= 80}
    Image.fromarray(rgb).save(path, **options)


def write_photos(folder: Path) -> Path:
    """Two sources with four people, one of whom has two photos, and files to leave out."""
    draw(folder / "a/one.jpg", 1)
    draw(folder / "a/two.JPEG", 2, quality=70)
    draw(folder / "b/anna/x.jpg", 3)
    draw(folder / "b/anna/y.png", 3, face_px=125)
    large = draw_face(4, height=600, width=500, face_px=280).rgb
    Image.fromarray(large).convert("L").save(folder / "b/grey.jpg", quality=91)
    Image.fromarray(draw_scenery(5)).save(folder / "b/wall.png")
    draw(folder / "b/small.png", 6, face_px=36)
    (folder / "a/broken.jpg").write_bytes((folder / "a/one.jpg").read_bytes()[:700])
    (folder / "a/notes.txt").write_text("no photo")
    (folder / "a/.hidden.jpg").write_bytes(b"")
    (folder / "loose.jpg").write_bytes(b"")
    return folder


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)
