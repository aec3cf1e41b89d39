"""Writing of a photo and its paired swap, in the same encoding, with their rows of images.csv."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import FAKE, REAL, FakeType
from pipeline.inputs.images import ImageEntry
from pipeline.runtime.sections import PseudoSwapParams
from pipeline.training.photos.encoding import Encoding, read_encoding, read_shrunk
from pipeline.training.photos.models import generator_of
from pipeline.training.photos.params import PhotoImportParams
from pipeline.training.photos.people import Found, partners
from pipeline.training.swaps.masks import mask_u8
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper, Swap
from pipeline.views.paste import arcface_square, square_px

# Standard deviation of the swap's keypoints, in sides of the paste square: the swapper and this
# detector find slightly different keypoints.
KEYPOINT_JITTER: Final = 0.006


@dataclass(frozen=True, eq=False)
class SwapJob:
    """A photo with its identity and, for INSwapper, the donor of its paired swap."""

    found: Found
    identity: str
    donor: Found | None = None
    donor_identity: str = ""


def tasks_of(
    found: Sequence[Found], identities: Sequence[str], params: PhotoImportParams
) -> list[SwapJob]:
    """One job per photo. identities: one per photo, from `group_people`."""
    if params.inswapper is None:
        return [SwapJob(*pair) for pair in zip(found, identities, strict=True)]
    donors = partners(identities)
    first = dict(zip(reversed(identities), reversed(found), strict=True))
    jobs = []
    for face, identity in zip(found, identities, strict=True):
        donor = donors.get(identity, "")
        jobs.append(SwapJob(face, identity, first.get(donor), donor))
    return jobs


def swapper_params(params: PhotoImportParams) -> PseudoSwapParams:
    """Parameters of the paired swaps: INSwapper's geometry with the person's own face."""
    changes = {
        "cross_identity_frac": 0.0,
        "hull_frac": params.hull_frac,
        "box_frac": 0.0,
        "restorer_frac": 0.0,
        "occlusion_frac": 0.1,
        "boost_frac": 0.0,
        "black_border_frac": 0.2,
        "low_pass_frac": 0.4,
        "low_pass_min_px": 92,
        "low_pass_max_px": 128,
    }
    return PseudoSwapParams.model_validate(PLAIN.model_dump() | changes)


def write_pair(
    root: Path, params: PhotoImportParams, task: SwapJob
) -> tuple[ImageEntry, ImageEntry]:
    """Write a photo, its paired swap and the swap's mask; return the rows of both images."""
    found = task.found
    photo = found.photo
    rgb = read_shrunk(photo.path, params.max_side_px)
    encoding = read_encoding(photo.path)
    rng = np.random.default_rng([params.seed, zlib.crc32(photo.name.encode())])
    spread_px = KEYPOINT_JITTER * square_px(arcface_square(found.keypoints))
    shifted = found.keypoints + rng.normal(0, spread_px, (5, 2)).astype(np.float32)
    swap = _swap(params, rgb, shifted, rng, task.donor)
    # The file of a shrunk photo cannot be copied.
    reencode = params.reencode or max(encoding.size) > params.max_side_px
    real = encoding.encode(rgb) if reencode else photo.path.read_bytes()
    suffix = encoding.suffix if reencode else photo.path.suffix.lower()
    names = (
        _write(root, f"images/real/{photo.stem}{suffix}", real),
        _write(root, f"images/swap/{photo.stem}{encoding.suffix}", encoding.encode(swap.rgb)),
        _write(root, f"images/masks/{photo.stem}.png", Encoding().encode(mask_u8(swap.alpha))),
    )
    return _entries(task, "pseudo" if params.inswapper is None else "inswapper", *names)


def _swap(
    params: PhotoImportParams,
    rgb: ImageU8,
    keypoints: FloatArray,
    rng: np.random.Generator,
    donor: Found | None,
) -> Swap:
    """Swap, by INSwapper's network if there is one; without a donor, to the person's own face."""
    if params.inswapper is None or params.embedder is None:
        return PseudoSwapper(swapper_params(params)).swap(rgb, keypoints, rng)
    source = None
    if donor is not None:
        source = (read_shrunk(donor.photo.path, params.max_side_px), donor.keypoints)
    return generator_of(params.inswapper, params.embedder).swap(rgb, keypoints, rng, source)


def _write(root: Path, name: str, content: bytes) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def _entries(
    task: SwapJob, fake_type: FakeType, real: str, fake: str, mask: str
) -> tuple[ImageEntry, ImageEntry]:
    photo, identity = task.found.photo, task.identity
    original = ImageEntry(
        path=real,
        label=REAL,
        source=photo.source,
        video_id=f"photo/{photo.stem}",
        identity_id=identity,
    )
    swap = ImageEntry(
        path=fake,
        label=FAKE,
        source=photo.source,
        video_id=f"swap/{photo.stem}",
        identity_id=identity,
        fake_type=fake_type,
        source_identity_id=task.donor_identity,
        original_video_id=f"photo/{photo.stem}",
        mask_path=mask,
    )
    return original, swap
