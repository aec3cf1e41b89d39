"""Stills of the sample: the face of a photo with its surroundings, and its pseudo-swap."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import FAKE, REAL
from pipeline.inputs.images import ImageEntry
from pipeline.runtime.sections import BuildSampleParams
from pipeline.training.sample.roles import Made, Role
from pipeline.training.sample.takes import Take, scale_for
from pipeline.training.swaps.masks import mask_u8
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper

STILL_SOURCE: Final = "sample_stills"
# Range of the face's height.
STILL_PX: Final = (200.0, 400.0)
# Distance of a still's edges from the middle of the face, in face heights, within the photo.
STILL_REACH: Final = (1.4, 2.2)
PNG_FRAC: Final = 0.3
JPEG_QUALITIES: Final = (80, 98)


@dataclass(frozen=True, eq=False)
class Still:
    """A part of a photo. photo: name of the whole image, which may show several people."""

    photo: str
    rgb: ImageU8
    keypoints: FloatArray


def cut_still(
    take: Take, mirror: bool, params: BuildSampleParams, rng: np.random.Generator
) -> Still:
    """Cut out a face with its surroundings, enlarged only to reach params.min_face_px."""
    wanted_px = min(float(rng.uniform(*STILL_PX)), max(take.face_px, params.min_face_px))
    scale = scale_for(take, wanted_px, params)
    subject = take.subjects(scale, mirror=mirror)[0]
    keypoints = take.keypoints[0] if subject.keypoints is None else subject.keypoints
    middle = keypoints.mean(axis=0)
    reach = scale * take.face_px * rng.uniform(*STILL_REACH, 4)
    height, width = subject.rgb.shape[:2]
    left, top = (int(max(0, value)) for value in middle - reach[:2])
    right, bottom = (int(value) for value in middle + reach[2:])
    cut = subject.rgb[top : min(bottom, height), left : min(right, width)]
    offset = np.array([left, top], np.float32)
    return Still(take.name, np.ascontiguousarray(cut), keypoints - offset)


def make_still(root: Path, role: Role, number: int, still: Still, rng: np.random.Generator) -> Made:
    """Write a still and its pseudo-swap with the person's own face, in the same file format."""
    swap = PseudoSwapper(PLAIN).swap(still.rgb, still.keypoints, rng, kind="square")
    quality = int(rng.integers(*JPEG_QUALITIES)) if rng.random() >= PNG_FRAC else None
    suffix = ".png" if quality is None else ".jpg"
    name = f"{role.person.identity_id}-{number}"
    real, fake = f"images/{name}{suffix}", f"images/{name}_swap{suffix}"
    mask = f"images/masks/{name}_swap.png"
    _write_image(root / real, still.rgb, quality)
    _write_image(root / fake, swap.rgb, quality)
    _write_image(root / mask, mask_u8(swap.alpha), None)
    original = ImageEntry(
        path=real,
        label=REAL,
        source=STILL_SOURCE,
        video_id=f"still/{name}",
        identity_id=role.person.identity_id,
        # Images cut from one photo belong to one group, whoever they show.
        original_video_id=f"photo/{still.photo}",
    )
    pseudo = ImageEntry(
        path=fake,
        label=FAKE,
        source=STILL_SOURCE,
        video_id=f"still/{name}_swap",
        identity_id=role.person.identity_id,
        fake_type="pseudo",
        original_video_id=f"still/{name}",
        mask_path=mask,
    )
    return Made(images=(original, pseudo))


def _write_image(path: Path, pixels: ImageU8, quality: int | None) -> None:
    """Write (H, W, 3) RGB or (H, W) grey pixels as JPEG of `quality`, or as PNG if it is None."""
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    done, encoded = cv2.imencode(path.suffix, stored, options)
    if not done:
        raise OSError(f"{path}: cannot be encoded")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())
