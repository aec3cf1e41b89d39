"""serve.detector.bundles: selection of the bundle and its precision."""

import json
from pathlib import Path

import pytest

from pipeline.bundle.load import SPEC_FILE
from pipeline.runtime.errors import BundleError
from serve.detector.bundles import find_bundle, open_bundle
from serve.settings import Settings
from tests.support.bundles import write_bundle

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def put_spec(folder: str) -> Path:
    path = Path(folder)
    path.mkdir(parents=True)
    (path / SPEC_FILE).write_text("{}")
    return path


def test_release_comes_before_export() -> None:
    export = put_spec("data/export")
    assert find_bundle(None) == export
    assert find_bundle(None) != put_spec("data/release")
    assert find_bundle(None) == Path("data/release")


def test_the_chosen_one_comes_first() -> None:
    put_spec("data/release")
    chosen = put_spec("mine")
    assert find_bundle(chosen) == chosen
    assert find_bundle(chosen / SPEC_FILE) == chosen


def test_a_wrong_choice_never_falls_back() -> None:
    put_spec("data/release")
    with pytest.raises(BundleError, match=r"absent.*--model or INSWAPPER_MODEL_PATH"):
        find_bundle(Path("absent"))


def test_none_names_all_three_places() -> None:
    with pytest.raises(BundleError) as caught:
        find_bundle(None)
    for place in ("INSWAPPER_MODEL_PATH", "data/release", "data/export"):
        assert place in str(caught.value)


def test_auto_takes_fp32_and_an_absent_precision_is_an_error(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    assert open_bundle(Settings(model_path=folder), 1).precision == "fp32"
    with pytest.raises(BundleError, match="int8"):
        open_bundle(Settings(model_path=folder, precision="int8"), 1)


def test_auto_takes_int8_where_there_is_nothing_else(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["models"] = {"int8": spec["models"]["fp32"]}
    spec["golden"]["outputs"] = {"int8": spec["golden"]["outputs"]["fp32"]}
    (folder / SPEC_FILE).write_text(json.dumps(spec))
    assert open_bundle(Settings(model_path=folder), 1).precision == "int8"
