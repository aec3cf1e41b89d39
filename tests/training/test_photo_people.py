"""pipeline.training.photos.people: linked people, excluded people, and donors."""

from pathlib import Path

import pytest

from pipeline.runtime.errors import ManifestError, PipelineError, WeightsError
from pipeline.training.photos.importing import import_photos
from pipeline.training.photos.people import partners
from tests.support.drawn_photos import changed, draw, write_photos
from tests.support.swap_networks import write_colours


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("model") / "colours.onnx")


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


def test_people_exchange_faces_in_pairs() -> None:
    assert partners(["c", "a", "b", "a"]) == {"a": "b", "b": "a"}
    assert partners([]) == {}


def test_excluding_needs_an_embedder_and_faces(
    folder: Path, tmp_path: Path, embedder: Path
) -> None:
    (tmp_path / "empty").mkdir()

    def run(**changes: object) -> None:
        import_photos(folder, tmp_path / "t", changed(**changes), workers=1)

    with pytest.raises(PipelineError, match=r"--exclude: needs --embedder"):
        run(exclude=(tmp_path / "empty",))
    with pytest.raises(WeightsError, match=r"none\.onnx: not found"):
        run(embedder=tmp_path / "none.onnx")
    with pytest.raises(ManifestError, match=r"--exclude: .*nowhere: no such folder"):
        run(embedder=embedder, exclude=(tmp_path / "nowhere",))
    with pytest.raises(ManifestError, match=r"--exclude: no face found in .*empty"):
        run(embedder=embedder, exclude=(tmp_path / "empty",))
