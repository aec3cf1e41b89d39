"""pipeline.training.photos.importing: refused folders, targets and options."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.runtime.errors import ManifestError, ParamsError
from pipeline.training.photos.files import list_photos
from pipeline.training.photos.importing import import_photos
from pipeline.training.photos.params import read_params
from tests.support.drawn_photos import PARAMS, changed, draw, write_photos
from tests.support.synthetic import draw_scenery
from tests.support.unread_files import HEIC


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.write_text("x"), "expected a folder or nothing, got a file"),
        (lambda t: (t / "x").mkdir(parents=True), "not written by this command"),
        (lambda t: earlier(t, "images.csv"), "not written by this command"),
        (lambda t: earlier(t, "images.csv", "left_out.csv", "mine.txt"), "not written by"),
        (
            lambda t: earlier(t, "images.csv", "left_out.csv", "inswapper/inswapper/a.mp4"),
            "not written by",
        ),
        (lambda t: earlier(t, "images.csv", "left_out.csv"), "replace it with --replace"),
    ],
)
def test_existing_targets_are_kept(
    make: Callable[[Path], object], message: str, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "t"
    make(target)
    with pytest.raises(ManifestError, match=message):
        import_photos(folder, target, PARAMS, workers=1)
    assert target.exists()
    if "--replace" not in message:
        with pytest.raises(ManifestError, match=message):
            import_photos(folder, target, PARAMS, workers=1, replace=True)


def earlier(target: Path, *names: str) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("")


def test_the_target_must_be_separate_from_the_photos(folder: Path) -> None:
    for target in (folder, folder / "a" / "t", folder.parent):
        with pytest.raises(ManifestError, match="expected a folder separate from"):
            import_photos(folder, target, PARAMS, workers=1, replace=True)


def test_errors_name_unusable_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere: no such folder; expected photos in"):
        list_photos(tmp_path / "nowhere", ())
    with pytest.raises(ManifestError, match=r"contains no folder; expected photos in"):
        list_photos(tmp_path, ())
    with pytest.raises(ManifestError, match=r"no source c, d; found a, b$"):
        list_photos(folder, ("d", "a", "c"))
    draw(tmp_path / "s/back\\slash.png", 1)
    with pytest.raises(ManifestError, match=r"rename 's/back\\\\slash.png'"):
        list_photos(tmp_path, ())


def test_nothing_is_written_if_no_photo_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "f/a").mkdir(parents=True)
    Image.fromarray(draw_scenery(5)).save(tmp_path / "f/a/wall.png")
    with pytest.raises(ManifestError, match=r"no photo can be used \(no_face 1\)"):
        import_photos(tmp_path / "f", tmp_path / "t", PARAMS, workers=1)
    assert not (tmp_path / "t").exists()


def test_photos_of_a_phone_are_named_with_the_way_out(tmp_path: Path) -> None:
    """By their content, whatever their suffix; left_out.csv has the same words."""
    source = tmp_path / "f/a"
    source.mkdir(parents=True)
    for name in ("IMG_1.HEIC", "IMG_2.jpg"):
        (source / name).write_bytes(HEIC)
    expected = (
        r"no photo can be used \(other_format 1, decode_error 1\); a/IMG_1\.HEIC: HEIC images are"
        r" not read; convert this one to PNG or JPEG, for example with"
    )
    with pytest.raises(ManifestError, match=expected):
        import_photos(tmp_path / "f", tmp_path / "t", PARAMS, workers=1)
    draw(source / "good.png", 1)
    left_out = import_photos(tmp_path / "f", tmp_path / "t", PARAMS, workers=1).left_out
    assert [(row.path, row.reason) for row in left_out] == [
        ("a/IMG_1.HEIC", "other_format"),
        ("a/IMG_2.jpg", "decode_error"),
    ]
    assert {row.detail.split(";")[0] for row in left_out} == {"HEIC images are not read"}


def test_options_are_checked() -> None:
    given = {**PARAMS.model_dump(), "sources": ["a"], "exclude": []}
    assert read_params(given) == changed(sources=("a",))
    with pytest.raises(ParamsError) as raised:
        read_params({**given, "hull_frac": 2.0, "min_face_px": 0})
    assert str(raised.value).splitlines() == [
        "import_photos: min_face_px: Input should be greater than or equal to 1 (got 0)",
        "import_photos: hull_frac: Input should be less than or equal to 1 (got 2.0)",
    ]
