"""Clips of the sample: wide and near shots of a person, and swaps of every frame."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.core.arrays import ImageU8
from pipeline.faces.detector import FaceDetector
from pipeline.inputs.people import IdentityEntry
from pipeline.inputs.videos import FAKES, ORIGINALS, VIDEOS
from pipeline.media.video_writer import write_mask_video, write_video
from pipeline.runtime.sections import BuildSampleParams
from pipeline.training.sample.film import Subject, draw_camera, film, scaled
from pipeline.training.sample.roles import Made, Role
from pipeline.training.sample.sources import Cast, Person, read_image
from pipeline.training.sample.takes import Take, scale_for, takes_of
from pipeline.training.swaps.masks import mask_u8
from pipeline.training.swaps.pseudo_swap import PLAIN, Donor, PseudoSwapper, Swap
from pipeline.training.swaps.recipe import PasteKind, SwapRecipe

KINDS: Final[dict[str, PasteKind]] = {"inswapper": "square", "uniface": "hull"}
# Range of the face's height in wide and in near shots of a clip.
WIDE_PX: Final = (200.0, 240.0)
NEAR_PX: Final = (250.0, 320.0)
# Size of an image, in frames, at which the moving camera never reaches its edge.
FILL: Final = 1.25
CUTAWAY_FRAC: Final = 0.4


def make_clips(
    root: Path,
    cast: Cast,
    params: BuildSampleParams,
    role: Role,
    donor: Donor | None,
    detector: FaceDetector,
    rng: np.random.Generator,
) -> Made:
    """Write the original video of a person and its fakes, in the same encoding.

    donor: the source face of the swaps; None for the person's own.
    """
    name = role.person.identity_id
    frames = _film_clip(cast, params, role.person, detector, rng)
    path = root / VIDEOS / ORIGINALS / f"{name}.mp4"
    write_video(path, (frame.rgb for frame in frames), params.fps, crf=params.crf)
    identities = [IdentityEntry(video_id=name, identity_id=name)]
    swapper = PseudoSwapper(PLAIN)
    for folder in FAKES:
        recipe = replace(swapper.draw(rng, KINDS[folder]), use_donor=donor is not None)
        if folder == "uniface" and not role.has_uniface:
            continue
        stem = f"{name}_{role.source_id or 'self'}"
        swaps = (_swap_frame(swapper, frame, recipe, donor) for frame in frames)
        _write_swaps(root / VIDEOS / folder / f"{stem}.mp4", swaps, params)
        identities.append(
            IdentityEntry(
                video_id=f"{folder}/{stem}", identity_id=name, source_identity_id=role.source_id
            )
        )
    count = len(identities)
    return Made(identities=tuple(identities), clips=count, frames=count * len(frames))


def _film_clip(
    cast: Cast,
    params: BuildSampleParams,
    person: Person,
    detector: FaceDetector,
    rng: np.random.Generator,
) -> list[Subject]:
    """All frames of a clip: alternating wide and near shots, sometimes with a cutaway as second."""
    scenes = int(rng.integers(params.scenes_min, params.scenes_max + 1))
    length = round(params.scene_s * params.fps)
    takes = takes_of(person, length, detector)
    has_cutaway = scenes > 2 and rng.random() < CUTAWAY_FRAC
    frames: list[Subject] = []
    for scene in range(scenes):
        camera = draw_camera(rng, params.width_px, params.height_px)
        band = NEAR_PX if scene % 2 else WIDE_PX
        face_px = float(rng.uniform(*band))
        chosen = cast.cutaways[int(rng.integers(len(cast.cutaways)))]
        if has_cutaway and scene == 1:
            subjects = [_covering(read_image(chosen), params)]
        else:
            shot = scene - (has_cutaway and scene > 1)
            take = takes[shot % len(takes)]
            scale = _clip_scale(take, face_px, band[1], params)
            subjects = take.subjects(scale, mirror=shot // len(takes) % 2 == 1)
        frames += film(subjects, camera, length, params.width_px, params.height_px)
    return frames


def _clip_scale(take: Take, face_px: float, most_px: float, params: BuildSampleParams) -> float:
    """Scale for a face of `face_px`, or of up to `most_px` where the image fills the frame then."""
    height, width = take.images[0].shape[:2]
    filling = FILL * max(params.height_px / height, params.width_px / width)
    return scale_for(take, max(face_px, min(filling * take.face_px, most_px)), params)


def _covering(rgb: ImageU8, params: BuildSampleParams) -> Subject:
    """Scale an image without a face to slightly more than the frame."""
    height, width = rgb.shape[:2]
    return scaled(Subject(rgb), FILL * max(params.height_px / height, params.width_px / width))


def _swap_frame(
    swapper: PseudoSwapper, frame: Subject, recipe: SwapRecipe, donor: Donor | None
) -> Swap:
    if frame.keypoints is None:
        return Swap(frame.rgb, np.zeros(frame.rgb.shape[:2], np.float32), recipe.kind)
    return swapper.apply(frame.rgb, frame.keypoints, recipe, donor)


def _write_swaps(path: Path, swaps: Iterable[Swap], params: BuildSampleParams) -> None:
    """Write the fake and, losslessly in the folder masks/ next to it, its paste mask."""
    masks: list[ImageU8] = []

    def frames() -> Iterator[ImageU8]:
        for swap in swaps:
            masks.append(mask_u8(swap.alpha))
            yield swap.rgb

    write_video(path, frames(), params.fps, crf=params.crf)
    write_mask_video(path.parent / "masks" / f"{path.stem}.mkv", masks, params.fps)
