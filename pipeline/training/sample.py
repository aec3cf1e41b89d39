"""The embedded sample: clips and stills of the cast, and their pseudo-swaps.

It proves that the pipeline works from videos to a decision; it says nothing about accuracy in the
field. One task makes everything of one person, from a random generator of that person alone, so the
number of processes changes no byte.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pipeline.errors import PackageError
from pipeline.faces.detector import FaceDetector, find_faces
from pipeline.faces.load import load_detector
from pipeline.input_images import ImageEntry
from pipeline.input_videos import FAKES, ORIGINALS, VIDEOS, IdentityEntry
from pipeline.labels import FAKE, REAL
from pipeline.manifest import write_rows
from pipeline.params import BuildSampleParams, PseudoSwapParams
from pipeline.preprocess import FloatArray, ImageU8
from pipeline.training.pseudo_swap import Donor, PseudoSwapper, Swap
from pipeline.training.sample_scenes import Subject, draw_camera, film, mirrored, scaled
from pipeline.training.sample_sources import (
    Cast,
    Person,
    fetch_archives,
    read_footage,
    read_photo,
    read_picture,
)
from pipeline.training.swap_recipe import Kind, SwapRecipe
from pipeline.video import write_mask_video, write_video

STILL_SOURCE: Final = "sample_stills"
KINDS: Final[dict[str, Kind]] = {"inswapper": "square", "uniface": "hull"}

# What INSwapper itself does: 128 px, black border, no restorer. Not params.yaml's section, so that
# the sample stays the same when the augmentation of training changes.
PLAIN: Final = PseudoSwapParams(
    frac=1.0,
    cross_identity_frac=1.0,
    hull_frac=0.0,
    box_frac=0.0,
    restorer_frac=0.0,
    occlusion_frac=0.0,
    boost_frac=0.0,
    black_border_frac=1.0,
    low_pass_frac=0.1,
    low_pass_min_px=96,
    low_pass_max_px=128,
    soften_real_frac=0.0,
    soft_camera_frac=0.0,
    resize_frac=0.0,
    square_min_px=128,
    square_max_px=128,
    tight_frac=0.0,
    keypoint_jitter=0.0,
)
# Height of the face: in wide and near shots of a clip, and in stills.
WIDE_PX: Final = (108.0, 140.0)
NEAR_PX: Final = (150.0, 195.0)
STILL_PX: Final = (100.0, 230.0)
MAX_ENLARGEMENT: Final = 1.6
# Size of a picture, in frames, at which the moving camera meets no edge of it.
FILL: Final = 1.2
# A still reaches this many face heights from the middle of the face, where the photo has them.
STILL_REACH: Final = (1.4, 2.2)
CUTAWAY_FRAC: Final = 0.4
PNG_FRAC: Final = 0.3
JPEG_QUALITIES: Final = (80, 98)
# Detectors differ in the last bits between processors; whole quarters of a pixel do not.
KEYPOINT_STEPS: Final = 4
MIN_SCORE: Final = 0.5
MIN_SOURCE_FACE_PX: Final = 40


@dataclass(frozen=True)
class Role:
    """What is made of one person. source: whose face the swaps get; None for the person's own."""

    person: Person
    index: int
    source: Person | None
    has_uniface: bool

    @property
    def source_id(self) -> str:
        return "" if self.source is None else self.source.identity_id


@dataclass(frozen=True)
class Made:
    """Rows of images.csv and identities.csv, and the number of clips and of their frames."""

    images: tuple[ImageEntry, ...] = ()
    identities: tuple[IdentityEntry, ...] = ()
    clips: int = 0
    frames: int = 0

    @property
    def people(self) -> int:
        still = {entry.identity_id for entry in self.images}
        return len(still | {entry.identity_id for entry in self.identities})

    def __add__(self, other: "Made") -> "Made":
        return Made(
            self.images + other.images,
            self.identities + other.identities,
            self.clips + other.clips,
            self.frames + other.frames,
        )


@dataclass(frozen=True, eq=False)
class Take:
    """Pictures of one person, one if it is a still. face_px: height of the face in the first."""

    name: str
    pictures: tuple[ImageU8, ...]
    keypoints: tuple[FloatArray, ...]
    face_px: float

    @property
    def donor(self) -> Donor:
        return self.pictures[0], self.keypoints[0]

    def subjects(self, scale: float) -> list[Subject]:
        pairs = zip(self.pictures, self.keypoints, strict=True)
        return [scaled(Subject(rgb, keypoints), scale) for rgb, keypoints in pairs]


def build_sample(root: Path, cast: Cast, params: BuildSampleParams, workers: int) -> Made:
    """Write the sample under `root`, which is emptied first.

    workers: processes; they change speed only. Raises PackageError when a package or one of its
    files cannot be had, or a picture of the cast shows no face.
    """
    fetch_archives(cast)
    shutil.rmtree(root, ignore_errors=True)
    roles = assign_roles(cast, params)
    made = sum(_map(partial(make_person, root, cast, params), roles, workers), Made())
    write_rows(root / "images.csv", made.images, ImageEntry)
    write_rows(root / VIDEOS / "identities.csv", made.identities, IdentityEntry)
    return made


def assign_roles(cast: Cast, params: BuildSampleParams) -> list[Role]:
    """Who is in the sample, who gets whose face, and who gets a UniFace-like swap as well."""
    people = cast.people[: params.max_people]
    filmed = {person.identity_id: person for person in people if not person.stills_only}
    links = [link for link in cast.links if filmed.keys() >= set(link)]
    sources = dict(links[: round(params.cross_identity_frac * len(filmed))])
    return [
        Role(
            person=person,
            index=index,
            source=filmed.get(sources.get(person.identity_id, "")),
            has_uniface=_evenly(index, params.uniface_frac),
        )
        for index, person in enumerate(people)
    ]


def make_person(root: Path, cast: Cast, params: BuildSampleParams, role: Role) -> Made:
    """Write the clips and stills of one person under `root`."""
    rng = np.random.default_rng([params.seed, role.index])
    detector = load_detector("retinaface", min_score=MIN_SCORE)
    source = None if role.source is None else _takes(role.source, 1, detector)[0].donor
    made = Made()
    if not role.person.stills_only:
        made += _make_clips(root, cast, params, role, source, detector, rng)
    takes = _takes(role.person, 1, detector)
    for number in range(params.stills_per_person):
        still = _cut_still(takes[number % len(takes)], number >= len(takes), params, rng)
        made += _make_still(root, role, number, still, rng)
    return made


def mask_u8(alpha: FloatArray) -> ImageU8:
    """Share of the paste, in [0, 1] -> [0, 255], as masks are stored."""
    mask: ImageU8 = np.rint(alpha * np.float32(255)).astype(np.uint8)
    return mask


def _map(make: "partial[Made]", roles: Sequence[Role], workers: int) -> list[Made]:
    if min(workers, len(roles)) <= 1:
        return [make(role) for role in roles]
    # Forking a process that holds ONNX Runtime's or OpenCV's threads can hang it.
    with ProcessPoolExecutor(
        min(workers, len(roles)), get_context("spawn"), cv2.setNumThreads, (1,)
    ) as pool:
        return list(pool.map(make, roles))


def _evenly(index: int, share: float) -> bool:
    """True for `share` of all indices, evenly spread."""
    return int((index + 1) * share + 1e-9) > int(index * share + 1e-9)


def _takes(person: Person, length: int, detector: FaceDetector) -> list[Take]:
    """Everything there is of a person: photos, and pieces of footage of `length` frames."""
    takes = []
    for photo in person.photos:
        takes.append(_take(photo.origin.member, [read_photo(photo)], detector))
    if person.footage is not None:
        member = person.footage.origin.member
        for start in person.footage.starts:
            frames = read_footage(person.footage, start, length)
            takes.append(_take(f"{member} at frame {start}", frames, detector))
    return takes


def _take(name: str, pictures: Sequence[ImageU8], detector: FaceDetector) -> Take:
    keypoints, sizes = [], []
    for rgb in pictures:
        faces = find_faces(
            detector, rgb, min_score=MIN_SCORE, min_face_px=MIN_SOURCE_FACE_PX, max_faces=1
        )
        if not faces or faces[0].keypoints is None:
            raise PackageError(f"{name}: no face was found in it")
        whole = np.rint(faces[0].keypoints * KEYPOINT_STEPS) / KEYPOINT_STEPS
        keypoints.append(whole.astype(np.float32))
        sizes.append(round(faces[0].size_px))
    return Take(name, tuple(pictures), tuple(keypoints), float(sizes[0]))


def _make_clips(
    root: Path,
    cast: Cast,
    params: BuildSampleParams,
    role: Role,
    donor: Donor | None,
    detector: FaceDetector,
    rng: np.random.Generator,
) -> Made:
    """The original video of a person and its fakes, encoded alike."""
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
    """All frames of a clip: wide and near shots in turn, at times with a cutaway between them."""
    scenes = int(rng.integers(params.scenes_min, params.scenes_max + 1))
    length = round(params.scene_s * params.fps)
    takes = _takes(person, length, detector)
    has_cutaway = scenes > 2 and rng.random() < CUTAWAY_FRAC
    frames: list[Subject] = []
    for scene in range(scenes):
        camera = draw_camera(rng, params.width_px, params.height_px)
        band = NEAR_PX if scene % 2 else WIDE_PX
        face_px = float(rng.uniform(*band))
        chosen = cast.cutaways[int(rng.integers(len(cast.cutaways)))]
        if has_cutaway and scene == 1:
            subjects = [_covering(read_picture(chosen), params)]
        else:
            take = takes[(scene - (has_cutaway and scene > 1)) % len(takes)]
            subjects = take.subjects(_clip_scale(take, face_px, band[1], params))
        frames += film(subjects, camera, length, params.width_px, params.height_px)
    return frames


def _clip_scale(take: Take, face_px: float, most_px: float, params: BuildSampleParams) -> float:
    """The scale for a face of `face_px`, up to `most_px` if the picture fills the frame then."""
    height, width = take.pictures[0].shape[:2]
    filling = FILL * max(params.height_px / height, params.width_px / width)
    return _scale(take, max(face_px, min(filling * take.face_px, most_px)), params)


def _scale(take: Take, face_px: float, params: BuildSampleParams) -> float:
    scale = min(face_px / take.face_px, MAX_ENLARGEMENT)
    if scale * take.face_px < params.min_face_px:
        raise PackageError(
            f"{take.name}: its face is {take.face_px:.0f} px tall; enlarged {MAX_ENLARGEMENT} times"
            f" it stays below build_sample.min_face_px {params.min_face_px}"
        )
    return scale


def _covering(rgb: ImageU8, params: BuildSampleParams) -> Subject:
    """A picture without a face, somewhat larger than the frame."""
    height, width = rgb.shape[:2]
    return scaled(Subject(rgb), FILL * max(params.height_px / height, params.width_px / width))


def _swap_frame(
    swapper: PseudoSwapper, frame: Subject, recipe: SwapRecipe, donor: Donor | None
) -> Swap:
    if frame.keypoints is None:
        return Swap(frame.rgb, np.zeros(frame.rgb.shape[:2], np.float32), recipe.kind)
    return swapper.apply(frame.rgb, frame.keypoints, recipe, donor)


def _write_swaps(path: Path, swaps: Iterable[Swap], params: BuildSampleParams) -> None:
    """The fake and, in masks/ beside it, its paste mask without loss."""
    masks: list[ImageU8] = []

    def frames() -> Iterator[ImageU8]:
        for swap in swaps:
            masks.append(mask_u8(swap.alpha))
            yield swap.rgb

    write_video(path, frames(), params.fps, crf=params.crf)
    write_mask_video(path.parent / "masks" / f"{path.stem}.mkv", masks, params.fps)


@dataclass(frozen=True, eq=False)
class _Still:
    """A cut-out of a photo. photo: names the whole picture, which several people may share."""

    photo: str
    rgb: ImageU8
    keypoints: FloatArray


def _cut_still(
    take: Take, mirror: bool, params: BuildSampleParams, rng: np.random.Generator
) -> _Still:
    """The face with its surroundings, at most as large as the photo has it."""
    wanted_px = min(float(rng.uniform(*STILL_PX)), max(take.face_px, params.min_face_px))
    scale = _scale(take, wanted_px, params)
    subject = take.subjects(scale)[0]
    subject = mirrored(subject) if mirror else subject
    keypoints = take.keypoints[0] if subject.keypoints is None else subject.keypoints
    middle = keypoints.mean(axis=0)
    reach = scale * take.face_px * rng.uniform(*STILL_REACH, 4)
    height, width = subject.rgb.shape[:2]
    left, top = (int(max(0, value)) for value in middle - reach[:2])
    right, bottom = (int(value) for value in middle + reach[2:])
    cut = subject.rgb[top : min(bottom, height), left : min(right, width)]
    offset = np.array([left, top], np.float32)
    return _Still(take.name, np.ascontiguousarray(cut), keypoints - offset)


def _make_still(
    root: Path, role: Role, number: int, still: _Still, rng: np.random.Generator
) -> Made:
    """A still and its pseudo-swap with the person's own face, in the same file format."""
    swap = PseudoSwapper(PLAIN).swap(still.rgb, still.keypoints, rng, kind="square")
    quality = int(rng.integers(*JPEG_QUALITIES)) if rng.random() >= PNG_FRAC else None
    suffix = ".png" if quality is None else ".jpg"
    name = f"{role.person.identity_id}-{number}"
    real, fake = f"images/{name}{suffix}", f"images/{name}_swap{suffix}"
    mask = f"images/masks/{name}_swap.png"
    _write_picture(root / real, still.rgb, quality)
    _write_picture(root / fake, swap.rgb, quality)
    _write_picture(root / mask, mask_u8(swap.alpha), None)
    original = ImageEntry(
        path=real,
        label=REAL,
        source=STILL_SOURCE,
        video_id=f"still/{name}",
        identity_id=role.person.identity_id,
        # Pictures cut from one photo belong together, whoever is in them.
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


def _write_picture(path: Path, pixels: ImageU8, quality: int | None) -> None:
    """(H, W[, 3]) RGB or grey as JPEG of `quality`, else as PNG."""
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    done, encoded = cv2.imencode(path.suffix, stored, options)
    if not done:
        raise OSError(f"{path}: cannot be encoded")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())
