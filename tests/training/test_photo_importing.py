"""pipeline.training.photos.importing: drawn people become a data root that list_inputs accepts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from pipeline.core.manifest import read_rows
from pipeline.inputs.images import ImageEntry
from pipeline.inputs.listing import list_inputs
from pipeline.training.photos.files import LeftOutRow
from pipeline.training.photos.importing import Imported, import_photos, summary_lines
from tests.support.drawn_photos import PARAMS, changed, draw, pixels, write_photos

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def root(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Imported]:
    target = tmp_path_factory.mktemp("roots") / "root"
    return target, import_photos(folder, target, PARAMS, workers=1)


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_the_root_is_a_valid_data_root_of_pairs(root: tuple[Path, Imported]) -> None:
    target, imported = root
    inputs = list_inputs(target)
    assert (inputs.warnings, inputs.videos) == ([], [])
    assert (target / "inswapper/original_videos").is_dir()
    reals, fakes = inputs.images[0::2], inputs.images[1::2]
    names = ["a/one", "a/two", "b/anna/x", "b/anna/y", "b/grey"]
    assert [row.video_id for row in reals] == [f"photo/{name}" for name in names]
    assert [row.identity_id for row in reals] == ["a/one", "a/two", "b/anna", "b/anna", "b/grey"]
    assert [row.source for row in reals] == ["a", "a", "b", "b", "b"]
    assert {row.fake_type for row in fakes} == {"pseudo"}
    for real, fake in zip(reals, fakes, strict=True):
        assert (real.label, fake.label) == (0, 1)
        assert fake.original_video_id == real.video_id
        assert (fake.identity_id, fake.source_identity_id) == (real.identity_id, "")
    assert read_rows(target / "images.csv", ImageEntry) == list(imported.entries)


def test_files_left_out_are_listed_with_their_reasons(root: tuple[Path, Imported]) -> None:
    target, imported = root
    listed = read_rows(target / "left_out.csv", LeftOutRow)
    assert listed == list(imported.left_out)
    assert {row.path: row.reason for row in listed} == {
        "a/broken.jpg": "decode_error",
        "a/notes.txt": "other_format",
        "b/small.png": "face_too_small",
        "b/wall.png": "no_face",
        "loose.jpg": "no_source",
    }


def test_the_summary_contains_no_names(root: tuple[Path, Imported]) -> None:
    assert summary_lines(root[1]) == [
        "(no source): 0 photos with paired swaps, 1 left out",
        "a: 2 photos with paired swaps, 2 left out",
        "b: 3 photos with paired swaps, 2 left out",
        "left out: decode_error 1, other_format 1, face_too_small 1, no_face 1, no_source 1",
        "faces of excluded people to compare with: 0",
        "5 photos of 4 people; 1 people have several photos, at most 2",
    ]


def test_a_paired_swap_differs_inside_its_mask(root: tuple[Path, Imported]) -> None:
    images = list_inputs(root[0]).images
    for real, fake in zip(images[0::2], images[1::2], strict=True):
        mask = pixels(fake.mask_path)
        change = np.abs(pixels(fake.path) - pixels(real.path))
        change = change.max(axis=2) if change.ndim == 3 else change
        assert change.shape == mask.shape
        assert mask.max() == 255
        assert change[mask > 250].mean() > 3 * change[mask == 0].mean() + 1
        if fake.path.endswith(".png"):
            assert change[mask == 0].max() <= 1  # an opacity below 1/510 is stored as 0


def test_photo_and_paired_swap_are_encoded_like_the_original_file(
    root: tuple[Path, Imported], folder: Path
) -> None:
    for name, origin in (("a/one.jpg", "a/one.jpg"), ("a/two.jpg", "a/two.JPEG")):
        with Image.open(folder / origin) as photo:
            expected = photo.quantization, JpegImagePlugin.get_sampling(photo)
        for kind in ("real", "swap"):
            with Image.open(root[0] / "images" / kind / name) as image:
                assert (image.quantization, JpegImagePlugin.get_sampling(image)) == expected


def test_large_photos_are_shrunk_and_grey_ones_stay_grey(root: tuple[Path, Imported]) -> None:
    for kind in ("real", "swap"):
        with Image.open(root[0] / "images" / kind / "b/grey.jpg") as image:
            assert (image.mode, image.size) == ("L", (333, 400))


def test_without_reencoding_photos_are_copied(folder: Path, tmp_path: Path) -> None:
    import_photos(folder, tmp_path / "t", changed(reencode=False), workers=1)
    real = tmp_path / "t/images/real"
    assert (real / "a/one.jpg").read_bytes() == (folder / "a/one.jpg").read_bytes()
    assert (real / "a/two.jpeg").read_bytes() == (folder / "a/two.JPEG").read_bytes()
    assert pixels(real / "b/grey.jpg").shape == (400, 333)
    assert list_inputs(tmp_path / "t").warnings == []


@pytest.mark.slow  # starts two interpreters
def test_two_processes_and_a_second_run_write_the_same_bytes(
    root: tuple[Path, Imported], folder: Path
) -> None:
    target = root[0]
    before = contents(target)
    imported = import_photos(folder, target, PARAMS, workers=2, replace=True)
    assert contents(target) == before
    assert imported == root[1]


def test_a_pair_does_not_depend_on_other_photos_or_sources(
    root: tuple[Path, Imported], folder: Path, tmp_path: Path
) -> None:
    import_photos(folder, tmp_path / "t", changed(sources=("b",)), workers=1)
    some, whole = contents(tmp_path / "t"), contents(root[0])
    images = {name: content for name, content in some.items() if name.startswith("images/")}
    assert len(images) == 9
    assert all(whole[name] == content for name, content in images.items())


def test_the_seed_changes_the_paired_swaps(
    root: tuple[Path, Imported], folder: Path, tmp_path: Path
) -> None:
    import_photos(folder, tmp_path / "t", changed(seed=21), workers=1)
    some, whole = contents(tmp_path / "t"), contents(root[0])
    same = {name for name in some if some[name] == whole[name]}
    assert {name for name in same if name.startswith("images/swap")} == set()
    assert len({name for name in same if name.startswith("images/real")}) == 5


def test_files_with_equal_stems_stay_separate(tmp_path: Path) -> None:
    draw(tmp_path / "f/a/one.jpg", 1)
    draw(tmp_path / "f/a/one.png", 2)
    import_photos(tmp_path / "f", tmp_path / "t", PARAMS, workers=1)
    rows = list_inputs(tmp_path / "t").images
    assert [row.video_id for row in rows[0::2]] == ["photo/a/one.jpg", "photo/a/one.png"]
    assert len({row.identity_id for row in rows}) == 2


@pytest.mark.slow  # starts an interpreter
def test_the_command(folder: Path, tmp_path: Path) -> None:
    words = ["-m", "stages.import_photos", str(folder), str(tmp_path / "t"), "--sources", "a"]
    words += ["--detector", "retinaface"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "import_photos: (no source): 0 photos with paired swaps, 1 left out"
    assert lines[-1].startswith("import_photos: 2 photos of 2 people")
    again = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stdout) == (2, "")
    assert "replace it with --replace" in again.stderr
