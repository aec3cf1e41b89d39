"""pipeline.training.sample.build: a tiny sample from a package that the test makes."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.frames.scenes import detect_scenes
from pipeline.inputs.listing import list_inputs
from pipeline.media.video import read_frames
from pipeline.runtime.errors import PackageError
from pipeline.runtime.params import load_params
from pipeline.training.sample.build import build_sample
from pipeline.training.sample.sources import (
    Archive,
    Cast,
    CastPhoto,
    Footage,
    PackageFile,
    Person,
    read_footage,
)
from tests.support.synthetic import draw_clip, draw_face, draw_scenery, write_clip

PARAMS = load_params().build_sample
TINY = PARAMS.model_copy(
    update={
        "width_px": 256,
        "height_px": 192,
        "max_people": 5,
        "min_face_px": 70,
        "scenes_min": 2,
        "scenes_max": 2,
        "scene_s": 0.32,
        "uniface_frac": 0.5,
        "cross_identity_frac": 0.5,
        "stills_per_person": 1,
    }
)
FRAMES = 2 * 8


def png(rgb: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the tiny package: two portraits, a group, a clip and a wall."""
    clip = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(
        clip, draw_clip(6, scenes=1, frames_per_scene=14, height=240, width=320, face_px=110)
    )
    group = np.hstack(
        [draw_face(person, height=300, width=280, face_px=110).rgb for person in (3, 4)]
    )
    return {
        "a.png": png(draw_face(1, height=360, width=420, face_px=120).rgb),
        "b.png": png(draw_face(2, height=420, width=360, face_px=130).rgb),
        "group.png": png(group),
        "clip.mp4": clip.read_bytes(),
        "wall.png": png(draw_scenery(7, 240, 320)),
        "broken.png": b"no image",
    }


@pytest.fixture(scope="module")
def package(
    members: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Archive]:
    """A wheel in the offline folder, so that pip is not used."""
    folder = tmp_path_factory.mktemp("packages")
    wheel = folder / "tiny_faces-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"tiny/{name}", content)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSWAPPER_PACKAGE_DIR", str(folder))
        patch.setenv("INSWAPPER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Archive("tiny-faces==1.0", digest)


@pytest.fixture(scope="module")
def cast(package: Archive, members: dict[str, bytes]) -> Cast:
    def origin(name: str) -> PackageFile:
        return PackageFile(package, f"tiny/{name}", hashlib.sha256(members[name]).hexdigest())

    return Cast(
        people=(
            Person("anna", (CastPhoto(origin("a.png")),)),
            Person("left", (CastPhoto(origin("group.png"), (0, 0, 280, 300)),)),
            Person("clip", footage=Footage(origin("clip.mp4"), (0, 2))),
            Person("ben", (CastPhoto(origin("b.png")),), stills_only=True),
            Person("right", (CastPhoto(origin("group.png"), (280, 0, 560, 300)),)),
        ),
        donors=(
            Person("dora", (CastPhoto(origin("group.png"), (280, 0, 560, 300)),)),
            Person("emil", (CastPhoto(origin("b.png")),)),
            Person("frida", (CastPhoto(origin("a.png")),)),
        ),
        cutaways=(origin("wall.png"),),
    )


@pytest.fixture(scope="module")
def sample(cast: Cast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "root"
    build_sample(root, cast, TINY, workers=1)
    return root


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow  # starts two interpreters
def test_two_processes_write_the_same_bytes(sample: Path, cast: Cast, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "leftover.txt").write_text("of an earlier run")
    made = build_sample(tmp_path / "again", cast, TINY, workers=2)
    assert contents(tmp_path / "again") == contents(sample)
    assert (made.people, made.clips, made.frames) == (5, 9, 9 * FRAMES)
    assert len(made.images) == 10


def test_the_sample_is_a_valid_data_root(sample: Path) -> None:
    inputs = list_inputs(sample)
    assert inputs.warnings == []
    videos = {row.video_id: row for row in inputs.videos}
    swaps = {"inswapper/anna_self", "inswapper/clip_self", "inswapper/left_dora"}
    swaps |= {"inswapper/right_emil", "uniface/left_dora"}
    assert set(videos) == swaps | {"anna", "clip", "left", "right"}
    left = videos["inswapper/left_dora"]
    assert (left.identity_id, left.source_identity_id) == ("left", "dora")
    assert left.original_video_id == "left"
    assert videos["inswapper/clip_self"].source_identity_id == ""
    assert all(row.mask_path for row in inputs.videos if row.label == 1)
    fakes = [row for row in inputs.images if row.label == 1]
    assert {(row.fake_type, bool(row.mask_path)) for row in fakes} == {("pseudo", True)}
    reals = {row.video_id for row in inputs.images if row.label == 0}
    assert {row.original_video_id for row in fakes} == reals


def test_people_in_one_photo_are_linked(sample: Path) -> None:
    originals = {
        row.identity_id: row.original_video_id
        for row in list_inputs(sample).images
        if row.label == 0
    }
    assert originals["left"] == originals["right"] == "photo/tiny/group.png"
    assert len(set(originals.values())) == 4


def read_clip(path: Path, pixel_format: str = "rgb24") -> np.ndarray:
    return np.stack([pixels for _, _, pixels in read_frames(path, pixel_format=pixel_format)])


@pytest.mark.parametrize(
    "swap", ["inswapper/left_dora", "inswapper/clip_self", "uniface/left_dora"]
)
def test_a_fake_differs_from_its_original_inside_its_mask(sample: Path, swap: str) -> None:
    folder, stem = swap.split("/")
    videos = sample / "inswapper"
    real = read_clip(videos / "original_videos" / f"{stem.split('_')[0]}.mp4")
    fake = read_clip(videos / folder / f"{stem}.mp4")
    masks = read_clip(videos / folder / "masks" / f"{stem}.mkv", "gray")
    assert len(real) == len(fake) == len(masks) == FRAMES
    change = np.abs(fake.astype(int) - real).mean(axis=-1)
    for frame in range(0, FRAMES, 5):
        inside, outside = masks[frame] > 250, masks[frame] == 0
        assert inside.sum() > 2000
        assert change[frame][inside].mean() > 1.3 * change[frame][outside].mean()


def test_scenes_are_separated_by_hard_cuts(sample: Path) -> None:
    scenes = detect_scenes(sample / "inswapper/original_videos/anna.mp4", 0.3, 0.3)
    assert [scene.start for scene in scenes] == [0, FRAMES // 2]


def test_stills_differ_only_inside_their_masks(sample: Path) -> None:
    fakes = [row for row in list_inputs(sample).images if row.label == 1]
    for row in fakes:
        fake, mask = (np.array(Image.open(path)) for path in (row.path, row.mask_path))
        real = np.array(Image.open(row.path.replace("_swap", "")))
        assert fake.shape == real.shape == (*mask.shape, 3)
        change = np.abs(fake.astype(int) - real).max(axis=2)
        assert change[mask > 250].mean() > change[mask == 0].mean()
        if row.path.endswith(".png"):
            assert change[mask == 0].max() <= 1  # an opacity below 1/510 is stored as 0


def broken(cast: Cast, person: Person) -> Cast:
    return replace(cast, people=(person,))


def test_the_error_names_an_image_without_a_face(cast: Cast, tmp_path: Path) -> None:
    faceless = broken(cast, Person("wall", (CastPhoto(cast.cutaways[0]),)))
    with pytest.raises(PackageError, match=r"tiny/wall\.png: no face was found"):
        build_sample(tmp_path, faceless, TINY, workers=1)


def test_a_face_that_is_too_small_is_refused(cast: Cast, tmp_path: Path) -> None:
    large = TINY.model_copy(update={"min_face_px": 400})
    with pytest.raises(PackageError, match=r"below build_sample\.min_face_px 400"):
        build_sample(tmp_path, broken(cast, cast.people[0]), large, workers=1)


def test_the_error_names_footage_that_is_too_short(cast: Cast) -> None:
    footage = cast.people[2].footage
    assert footage is not None
    assert len(read_footage(footage, 2, 12)) == 12
    with pytest.raises(PackageError, match=r"clip\.mp4: has 14 frames, 15 are needed"):
        read_footage(footage, 2, 13)
