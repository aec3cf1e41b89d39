"""pipeline.training.photo_root: drawn people become a data root that list_inputs accepts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, JpegImagePlugin

from pipeline.errors import ManifestError, ParamsError, PipelineError, WeightsError
from pipeline.input_images import ImageEntry
from pipeline.inputs import list_inputs
from pipeline.manifest import read_rows
from pipeline.training.photo_files import LeftOutRow, list_photos
from pipeline.training.photo_params import PhotoImportParams, read_params
from pipeline.training.photo_people import partners
from pipeline.training.photo_root import Imported, import_photos, summary_lines
from pipeline.training.photo_twins import swapper_params
from tests.swap_networks import write_arcface, write_inswapper
from tests.synthetic import draw_face, draw_scenery

ROOT = Path(__file__).parent.parent
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
    """A drawn person as the file's suffix says; JPEG with 4:4:4 colours below quality 80."""
    rgb = draw_face(person, height=240, width=280, face_px=face_px).rgb
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {} if path.suffix == ".png" else {"quality": quality, "subsampling": quality >= 80}
    Image.fromarray(rgb).save(path, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources; four people of whom one has two photos, and everything that is left out."""
    folder = tmp_path_factory.mktemp("photos")
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


@pytest.fixture(scope="module")
def root(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Imported]:
    target = tmp_path_factory.mktemp("roots") / "root"
    return target, import_photos(folder, target, PARAMS, workers=1)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colours in a 7x7 grid, less their mean: tells drawn people apart by the wall behind them."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["grid"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("ReduceMean", ["grid"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Sub", ["grid", "mean"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 147])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests"
    )
    path = tmp_path_factory.mktemp("model") / "colours.onnx"
    onnx.save(model, path)
    return path


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


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


def test_whatever_is_left_out_is_listed_with_its_reason(root: tuple[Path, Imported]) -> None:
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


def test_the_summary_names_nobody(root: tuple[Path, Imported]) -> None:
    assert summary_lines(root[1]) == [
        "(no source): 0 photos and their twins, 1 left out",
        "a: 2 photos and their twins, 2 left out",
        "b: 3 photos and their twins, 2 left out",
        "left out: decode_error 1, other_format 1, face_too_small 1, no_face 1, no_source 1",
        "faces of excluded people looked for: 0",
        "5 photos of 4 people; 1 people have several photos, at most 2",
    ]


def test_a_twin_differs_where_its_mask_says(root: tuple[Path, Imported]) -> None:
    images = list_inputs(root[0]).images
    for real, fake in zip(images[0::2], images[1::2], strict=True):
        mask = pixels(fake.mask_path)
        change = np.abs(pixels(fake.path) - pixels(real.path))
        change = change.max(axis=2) if change.ndim == 3 else change
        assert change.shape == mask.shape
        assert mask.max() == 255
        assert change[mask > 250].mean() > 3 * change[mask == 0].mean() + 1
        if fake.path.endswith(".png"):
            assert change[mask == 0].max() <= 1  # a share below 1/510 is stored as 0


def test_photo_and_twin_are_encoded_as_the_photo_was(
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


def test_other_photos_and_other_sources_change_no_pair(
    root: tuple[Path, Imported], folder: Path, tmp_path: Path
) -> None:
    import_photos(folder, tmp_path / "t", changed(sources=("b",)), workers=1)
    some, whole = contents(tmp_path / "t"), contents(root[0])
    pictures = {name: content for name, content in some.items() if name.startswith("images/")}
    assert len(pictures) == 9
    assert all(whole[name] == content for name, content in pictures.items())


def test_the_seed_changes_the_twins(
    root: tuple[Path, Imported], folder: Path, tmp_path: Path
) -> None:
    import_photos(folder, tmp_path / "t", changed(seed=21), workers=1)
    some, whole = contents(tmp_path / "t"), contents(root[0])
    same = {name for name in some if some[name] == whole[name]}
    assert {name for name in same if name.startswith("images/swap")} == set()
    assert len({name for name in same if name.startswith("images/real")}) == 5


def test_embeddings_link_people_across_sources(tmp_path: Path, embedder: Path) -> None:
    draw(tmp_path / "f/a/one.png", 1)
    draw(tmp_path / "f/a/two.png", 2)
    draw(tmp_path / "f/b/again.jpg", 1, face_px=112)
    draw(tmp_path / "f/b/two/x.png", 4)
    draw(tmp_path / "f/b/two/y.png", 7)
    imported = import_photos(tmp_path / "f", tmp_path / "t", changed(embedder=embedder), workers=1)
    people = {entry.video_id: entry.identity_id for entry in imported.entries[0::2]}
    assert people == {
        "photo/a/one": "a/one",
        "photo/a/two": "a/two",
        "photo/b/again": "a/one",
        "photo/b/two/x": "b/two",
        "photo/b/two/y": "b/two",
    }


def test_excluded_people_stay_out(tmp_path: Path, embedder: Path) -> None:
    draw(tmp_path / "f/a/one.png", 1)
    draw(tmp_path / "f/a/two.png", 2)
    draw(tmp_path / "test/deep/below/x.jpg", 1, face_px=112)
    params = changed(embedder=embedder, exclude=(tmp_path / "test",))
    imported = import_photos(tmp_path / "f", tmp_path / "t", params, workers=1)
    assert {entry.identity_id for entry in imported.entries} == {"a/two"}
    assert [(row.path, row.reason) for row in imported.left_out] == [("a/one.png", "excluded")]
    assert imported.excluded_faces == 1


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    draw(tmp_path / "f/a/one.jpg", 1)
    draw(tmp_path / "f/a/one.png", 2)
    import_photos(tmp_path / "f", tmp_path / "t", PARAMS, workers=1)
    rows = list_inputs(tmp_path / "t").images
    assert [row.video_id for row in rows[0::2]] == ["photo/a/one.jpg", "photo/a/one.png"]
    assert len({row.identity_id for row in rows}) == 2


def test_twins_are_inswappers_squares_of_the_person_s_own_face() -> None:
    params = swapper_params(changed(hull_frac=0.2))
    assert (params.cross_identity_frac, params.hull_frac, params.box_frac) == (0, 0.2, 0)
    assert (params.boost_frac, params.restorer_frac) == (0, 0)
    assert (params.low_pass_min_px, params.low_pass_max_px) == (92, 128)


def test_people_lend_their_faces_to_each_other() -> None:
    assert partners(["c", "a", "b", "a"]) == {"a": "b", "b": "a"}
    assert partners([]) == {}


def test_inswapper_itself_makes_the_twins(folder: Path, tmp_path: Path) -> None:
    face = np.full((128, 128, 3), (10, 250, 90), np.uint8)
    params = changed(
        inswapper=write_inswapper(tmp_path / "inswapper.onnx", face),
        embedder=write_arcface(tmp_path / "arcface.onnx"),
        same_person=0.99999,
    )
    imported = import_photos(folder, tmp_path / "root", params, workers=1)
    fakes = [entry for entry in imported.entries if entry.label == 1]
    lends = partners(entry.identity_id for entry in fakes)
    assert len(lends) == 4
    for entry in fakes:
        assert entry.fake_type == "inswapper"
        assert entry.source_identity_id == lends.get(entry.identity_id, "")
        mask = pixels(tmp_path / "root" / entry.mask_path) > 250
        twin = pixels(tmp_path / "root" / entry.path)
        if twin.ndim == 3:
            np.testing.assert_allclose(twin[mask].mean(axis=0), (10, 250, 90), atol=4)
    rows = list_inputs(tmp_path / "root").images
    assert {row.is_inswapper for row in rows if row.label} == {1}


def test_inswapper_needs_an_embedder_and_its_file(folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "inswapper_128.onnx"
    with pytest.raises(PipelineError, match="--inswapper: needs --embedder"):
        import_photos(folder, tmp_path / "root", changed(inswapper=missing), workers=1)
    params = changed(inswapper=missing, embedder=write_arcface(tmp_path / "arcface.onnx"))
    with pytest.raises(WeightsError, match=r"inswapper_128\.onnx: not found"):
        import_photos(folder, tmp_path / "root", params, workers=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.write_text("x"), "expected a folder or nothing, found a file"),
        (lambda t: (t / "x").mkdir(parents=True), "not written by this command"),
        (lambda t: earlier(t, "images.csv"), "not written by this command"),
        (lambda t: earlier(t, "images.csv", "left_out.csv", "mine.txt"), "not written by"),
        (
            lambda t: earlier(t, "images.csv", "left_out.csv", "inswapper/inswapper/a.mp4"),
            "not written by",
        ),
        (lambda t: earlier(t, "images.csv", "left_out.csv"), "--replace makes it anew"),
    ],
)
def test_what_lies_at_the_target_is_kept(
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


def test_the_target_must_lie_apart_from_the_photos(folder: Path) -> None:
    for target in (folder, folder / "a" / "t", folder.parent):
        with pytest.raises(ManifestError, match="expected a place apart from"):
            import_photos(folder, target, PARAMS, workers=1, replace=True)


def test_folders_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere: no such folder; expected photos in"):
        list_photos(tmp_path / "nowhere", ())
    with pytest.raises(ManifestError, match=r"no folder in it; expected photos in"):
        list_photos(tmp_path, ())
    with pytest.raises(ManifestError, match=r"no source c, d; there are a, b$"):
        list_photos(folder, ("d", "a", "c"))
    draw(tmp_path / "s/back\\slash.png", 1)
    with pytest.raises(ManifestError, match=r"rename 's/back\\\\slash.png'"):
        list_photos(tmp_path, ())


def test_nothing_is_written_when_no_photo_comes_in(tmp_path: Path) -> None:
    (tmp_path / "f/a").mkdir(parents=True)
    Image.fromarray(draw_scenery(5)).save(tmp_path / "f/a/wall.png")
    with pytest.raises(ManifestError, match=r"no photo can be used \(no_face 1\)"):
        import_photos(tmp_path / "f", tmp_path / "t", PARAMS, workers=1)
    assert not (tmp_path / "t").exists()


def test_excluding_needs_what_it_works_with(folder: Path, tmp_path: Path, embedder: Path) -> None:
    (tmp_path / "empty").mkdir()

    def run(**changes: object) -> None:
        import_photos(folder, tmp_path / "t", changed(**changes), workers=1)

    with pytest.raises(PipelineError, match=r"--exclude: needs --embedder"):
        run(exclude=(tmp_path / "empty",))
    with pytest.raises(WeightsError, match=r"none\.onnx: not found"):
        run(embedder=tmp_path / "none.onnx")
    with pytest.raises(ManifestError, match=r"--exclude: .*nowhere: no such folder"):
        run(embedder=embedder, exclude=(tmp_path / "nowhere",))
    with pytest.raises(ManifestError, match=r"--exclude: no face in .*empty"):
        run(embedder=embedder, exclude=(tmp_path / "empty",))


def test_options_are_checked() -> None:
    given = {**PARAMS.model_dump(), "sources": ["a"], "exclude": []}
    assert read_params(given) == changed(sources=("a",))
    with pytest.raises(ParamsError) as raised:
        read_params({**given, "hull_frac": 2.0, "min_face_px": 0})
    assert str(raised.value).splitlines() == [
        "import_photos: min_face_px: Input should be greater than or equal to 1 (got 0)",
        "import_photos: hull_frac: Input should be less than or equal to 1 (got 2.0)",
    ]


@pytest.mark.slow  # starts an interpreter
def test_the_command(folder: Path, tmp_path: Path) -> None:
    words = ["-m", "stages.import_photos", str(folder), str(tmp_path / "t"), "--sources", "a"]
    words += ["--detector", "retinaface"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "import_photos: (no source): 0 photos and their twins, 1 left out"
    assert lines[-1].startswith("import_photos: 2 photos of 2 people")
    again = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stdout) == (2, "")
    assert "--replace makes it anew" in again.stderr
