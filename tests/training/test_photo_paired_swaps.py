"""pipeline.training.photos.paired_swaps: source faces of paired swaps, and required options."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.inputs.listing import list_inputs
from pipeline.runtime.errors import PipelineError, WeightsError
from pipeline.training.photos.importing import import_photos
from pipeline.training.photos.paired_swaps import swapper_params
from pipeline.training.photos.people import partners
from tests.support.drawn_photos import changed, pixels, write_photos
from tests.support.swap_networks import write_arcface, write_inswapper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


def test_paired_swaps_are_squares_with_the_persons_own_face() -> None:
    params = swapper_params(changed(hull_frac=0.2))
    assert (params.cross_identity_frac, params.hull_frac, params.box_frac) == (0, 0.2, 0)
    assert (params.boost_frac, params.restorer_frac) == (0, 0)
    assert (params.low_pass_min_px, params.low_pass_max_px) == (92, 128)


def test_inswappers_network_makes_the_paired_swaps(folder: Path, tmp_path: Path) -> None:
    face = np.full((128, 128, 3), (10, 250, 90), np.uint8)
    params = changed(
        inswapper=write_inswapper(tmp_path / "inswapper.onnx", face),
        embedder=write_arcface(tmp_path / "arcface.onnx"),
        same_person=0.99999,
    )
    imported = import_photos(folder, tmp_path / "root", params, workers=1)
    fakes = [entry for entry in imported.entries if entry.label == 1]
    donors = partners(entry.identity_id for entry in fakes)
    assert len(donors) == 4
    for entry in fakes:
        assert entry.fake_type == "inswapper"
        assert entry.source_identity_id == donors.get(entry.identity_id, "")
        mask = pixels(tmp_path / "root" / entry.mask_path) > 250
        swap = pixels(tmp_path / "root" / entry.path)
        if swap.ndim == 3:
            np.testing.assert_allclose(swap[mask].mean(axis=0), (10, 250, 90), atol=4)
    rows = list_inputs(tmp_path / "root").images
    assert {row.is_inswapper for row in rows if row.label} == {1}


def test_inswapper_needs_an_embedder_and_its_file(folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "inswapper_128.onnx"
    with pytest.raises(PipelineError, match="--inswapper: needs --embedder"):
        import_photos(folder, tmp_path / "root", changed(inswapper=missing), workers=1)
    params = changed(inswapper=missing, embedder=write_arcface(tmp_path / "arcface.onnx"))
    with pytest.raises(WeightsError, match=r"inswapper_128\.onnx: not found"):
        import_photos(folder, tmp_path / "root", params, workers=1)
