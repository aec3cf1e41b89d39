"""Makes the rehearsal's clips out of real ones: other people's looks, names and encodings.

A clip shows a part of a source, placed, mirrored, tilted, lit and coloured as its person's seed
says, with grain. Each has two fakes of the same frames: INSwapper's square and UniFace's hull, by
the pseudo-swapper. The sources' keypoints are found in every fifth frame and interpolated.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, pairwise, repeat
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.files import replacing
from pipeline.faces.detector import Face, find_faces
from pipeline.faces.load import load_detector
from pipeline.media.video import probe, read_frames
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.workers import map_in_processes
from pipeline.training.sample.clips import KINDS
from pipeline.training.sample.film import transform
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper
from pipeline.views.paste import Matrix
from tests.rehearsal.plan import SEED, Clip

# The left half of these videos is real, the right half a swap of it.
HALF_REAL = "side_by_side"
DETECTION_STEP = 5
MIN_SCORE, MIN_FACE_PX = 0.5, 40
# Keypoints that move further between two detections, in distances of the eyes, show a cut.
MAX_MOVE = 0.5
# Height of the face, in frames.
FACE_FRAC = (0.25, 0.42)
TILT_DEG, STRETCH, LIGHT, TINT = 12.0, 0.07, 0.4, 0.08
CUT_FRAC = 0.33
GRAIN_SIGMA, GRAIN_TILE_PX = 1.2, 64
# Level of the light map that leaves a pixel as it is.
UNLIT = 160
# Gives some 1.5 MB per video, as RTFS-10k has.
CRF = (21, 25)
X264 = {"preset": "superfast"}
KEY_FRAMES_S = 2
MIRRORED = (1, 0, 2, 4, 3)


@dataclass(frozen=True, eq=False)
class Source:
    """A real video. keypoints: (5, 2) by frame, where a face is tracked.

    face_px, centre: median size and position of the face.
    """

    path: Path
    fps: int
    frames: int
    keypoints: dict[int, FloatArray]
    face_px: float
    centre: FloatArray


def make_clips(root: Path, sources: Path, clips: Sequence[Clip], workers: int) -> int:
    """Write the clips that are missing to the data root; return their number.

    sources: folder with videos of people; HALF_REAL in a path says that its left half is real.
    Raises PipelineError without a video that shows a face.
    """
    missing = [clip for clip in clips if not all((root / name).exists() for name in clip.files)]
    if not missing:
        return 0
    tracks = map_in_processes(find_source, sorted(sources.rglob("*.mp4")), workers)
    usable = [source for source in tracks if source is not None]
    if not usable:
        raise PipelineError(f"{sources}: contains no .mp4 that shows a face")
    jobs = [(clip, usable[clip.person % len(usable)]) for clip in missing]
    for name in missing[0].files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    map_in_processes(partial(make_clip, root, len(usable)), jobs, workers)
    return len(missing)


def find_source(path: Path) -> Source | None:
    """Track the largest face of a video; None if it is nowhere tracked."""
    detector = load_detector("retinaface", min_score=MIN_SCORE)
    info = probe(path)
    found = {}
    for index, _, rgb in read_frames(path, range(0, info.frame_count, DETECTION_STEP)):
        faces = find_faces(
            detector,
            real_part(path, rgb),
            min_score=MIN_SCORE,
            min_face_px=MIN_FACE_PX,
            max_faces=1,
        )
        if faces:
            found[index] = faces[0]
    keypoints = interpolated(found)
    if not keypoints:
        return None
    centre = np.median([face.box_xyxy.reshape(2, 2).mean(0) for face in found.values()], axis=0)
    size = float(np.median([face.size_px for face in found.values()]))
    return Source(path, round(info.fps), info.frame_count, keypoints, size, centre)


def real_part(path: Path, rgb: ImageU8) -> ImageU8:
    return rgb[:, : rgb.shape[1] // 2] if HALF_REAL in path.parts else rgb


def interpolated(faces: dict[int, Face]) -> dict[int, FloatArray]:
    """Keypoints of the frames between two detections of one face, linear in time."""
    keypoints = {}
    for first, last in pairwise(sorted(faces)):
        start, end = faces[first].keypoints, faces[last].keypoints
        if last - first != DETECTION_STEP or start is None or end is None:
            continue
        eyes = np.linalg.norm(start[1] - start[0])
        if np.abs(end - start).max() <= MAX_MOVE * eyes:
            for index in range(first, last + 1):
                moved = (index - first) / DETECTION_STEP * (end - start)
                keypoints[index] = (start + moved).astype(np.float32)
    return keypoints


def make_clip(root: Path, sources: int, job: tuple[Clip, Source]) -> None:
    """Write an original and its fakes, frame by frame. sources: their number."""
    clip, source = job
    rng = np.random.default_rng([SEED, clip.number, 2])
    swapper = PseudoSwapper(PLAIN)
    recipes = {folder: swapper.draw(rng, KINDS[folder]) for folder in clip.fakes}
    crfs = iter(rng.integers(CRF[0], CRF[1] + 1, len(clip.files)).tolist())
    size = (clip.width_px, clip.height_px)
    with ExitStack() as stack:

        def opened(name: Path) -> Callable[[ImageU8], None]:
            return stack.enter_context(encoder(root / name, size, source.fps, next(crfs)))

        write = opened(clip.original)
        write_fake = {folder: opened(name) for folder, name in clip.fakes.items()}
        for rgb, keypoints in filmed(clip, source, clip.person // sources % 2 == 1, rng):
            write(rgb)
            for folder, recipe in recipes.items():
                swap = None if keypoints is None else swapper.apply(rgb, keypoints, recipe)
                write_fake[folder](rgb if swap is None else swap.rgb)


def filmed(
    clip: Clip, source: Source, mirror: bool, rng: np.random.Generator
) -> Iterator[tuple[ImageU8, FloatArray | None]]:
    """Yield the frames of a clip, (H, W, 3) uint8, with their keypoints."""
    look = np.random.default_rng([SEED, clip.person, 3])
    light = light_map(clip, look)
    face_frac, tilt = look.uniform(*FACE_FRAC), look.uniform(-TILT_DEG, TILT_DEG)
    stretch = 1 + look.uniform(-STRETCH, STRETCH)
    count = clip.length_s * source.fps
    cut = int(count * rng.uniform(0.3, 0.7)) if rng.random() < CUT_FRAC else count
    tile = rng.normal(
        0, GRAIN_SIGMA, (clip.height_px + GRAIN_TILE_PX, clip.width_px + GRAIN_TILE_PX, 3)
    )
    grain = tile.round().astype(np.int8)
    shots = [
        placement(clip, source, zoom * face_frac, (-stretch if mirror else stretch), tilt, rng)
        for zoom in (1.0, 0.7)
    ]
    backdrops: dict[int, ImageU8] = {}
    start = int(rng.integers(source.frames))
    for number, (index, seen) in enumerate(islice(source_frames(source, start), count)):
        shot = int(number >= cut)
        if shot not in backdrops:
            backdrops[shot] = backdrop(seen, clip)
        clean = shown(seen, shots[shot], backdrops[shot], light)
        y, x = number * 37 % GRAIN_TILE_PX, number * 23 % GRAIN_TILE_PX
        rgb = cv2.add(clean, grain[y : y + clip.height_px, x : x + clip.width_px], dtype=cv2.CV_8U)
        keypoints = source.keypoints.get(index)
        if keypoints is not None:
            keypoints = transform(keypoints[list(MIRRORED)] if mirror else keypoints, shots[shot])
        yield np.asarray(rgb, np.uint8), keypoints


def source_frames(source: Source, start: int) -> Iterator[tuple[int, ImageU8]]:
    """Yield (index, frame) from `start` on, and without end again from the first frame."""
    passes = chain([range(start, source.frames)], repeat(None))
    for indices in passes:
        for index, _, rgb in read_frames(source.path, indices):
            yield index, real_part(source.path, rgb)


def placement(
    clip: Clip,
    source: Source,
    face_frac: float,
    stretch: float,
    tilt_deg: float,
    rng: np.random.Generator,
) -> Matrix:
    """Matrix (2, 3) source -> frame. stretch: width of the face, negative to mirror it."""
    scale = face_frac * clip.height_px / source.face_px
    tilt = np.deg2rad(tilt_deg)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    linear = turn @ np.diag([scale * stretch, scale])
    place = rng.uniform((0.42, 0.42), (0.58, 0.52)) * (clip.width_px, clip.height_px)
    return np.column_stack([linear, place - linear @ source.centre])


def light_map(clip: Clip, rng: np.random.Generator) -> ImageU8:
    """Light from one side and a tint: (H, W, 3), UNLIT leaves a pixel unchanged."""
    y, x = np.mgrid[-1 : 1 : clip.height_px * 1j, -1 : 1 : clip.width_px * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(LIGHT / 2, LIGHT) * (x * np.cos(angle) + y * np.sin(angle))
    tint = 1 + rng.uniform(-TINT, TINT, 3)
    levels: ImageU8 = np.clip(UNLIT * light[..., None] * tint, 0, 255).astype(np.uint8)
    return levels


def backdrop(rgb: ImageU8, clip: Clip) -> ImageU8:
    """Coarse blur of an image, behind it where it does not cover the frame."""
    coarse = cv2.resize(rgb, (8, 6), interpolation=cv2.INTER_AREA)
    size = (clip.width_px, clip.height_px)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def shown(rgb: ImageU8, matrix: Matrix, behind: ImageU8, light: ImageU8) -> ImageU8:
    size = (behind.shape[1], behind.shape[0])
    warped = cv2.warpAffine(
        rgb, matrix, size, behind.copy(), cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
    )
    return np.asarray(cv2.multiply(warped, light, scale=1 / UNLIT), np.uint8)


@contextmanager
def encoder(
    path: Path, size: tuple[int, int], fps: int, crf: int
) -> Iterator[Callable[[ImageU8], None]]:
    """Yield a function that appends an RGB frame to an H.264 file, which appears at the end."""
    options = {**X264, "crf": str(crf), "g": str(KEY_FRAMES_S * fps)}
    with (
        replacing(path) as temporary,
        av.open(str(temporary), "w", format="mp4") as container,
    ):
        stream: Any = container.add_stream("libx264", rate=fps, options=options)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.thread_count = 1

        def write(rgb: ImageU8) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))

        yield write
        container.mux(stream.encode())
