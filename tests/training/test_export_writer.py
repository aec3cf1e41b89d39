"""A bundle written from a small network loads, states its provenance and is reproducible."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.bundle.load import Provenance, load_bundle
from pipeline.decision.decide import decide
from pipeline.decision.fusion import LearnedFusion
from pipeline.decision.scorer import FaceScorer
from pipeline.runtime.errors import BundleError
from pipeline.runtime.params import Params, load_params
from pipeline.training.export import writer as bundle_writer
from pipeline.training.export.writer import (
    Trained,
    headline_numbers,
    parity_inputs,
    provenance_of,
    write_bundle,
)
from pipeline.training.network.checkpoint import CheckpointMeta
from pipeline.training.scoring.scorer import decided, stored_evidence, torch_network
from pipeline.training.store.reader import image_of
from tests.support.audits import audit_of
from tests.support.decisions import decision_of, limits_of
from tests.support.face_stores import PREPROCESS, drawn_store
from tests.support.reports import report_of
from tests.support.tiny_trees import stump
from tests.training.test_onnx_export import SmallNet

REPORT = report_of()
TREES = stump("power_drop_band0_0", -0.5)
ORIGIN = Provenance(
    code_sha256="1" * 64,
    params_sha256="2" * 64,
    data_sha256={"best_model.pt": "3" * 64},
    trained_on="data/sample",
    epoch=4,
)


@pytest.fixture(scope="module")
def params() -> Params:
    loaded = load_params(Path(__file__).parents[2] / "params.yaml")
    export = loaded.export.model_copy(update={"golden_crops": 2})
    return loaded.model_copy(update={"export": export})


@pytest.fixture(scope="module")
def trained(params: Params) -> Trained:
    decision = decision_of(
        limits_of(0.4, 0.9),
        fusion=LearnedFusion(bias=-0.2, real_fake=0.5, inswapper=0.2, boundary=0.3, seam=0.6),
    )
    meta = CheckpointMeta(params.model, PREPROCESS, epoch=4, metric=0.5, quality={"sharp": [1.0]})
    store = drawn_store(people=2, frames=2)
    return Trained(SmallNet().eval(), meta, TREES, decision, store, REPORT, audit_of())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, trained: Trained, params: Params) -> Path:
    folder = tmp_path_factory.mktemp("out") / "export"
    write_bundle(folder, trained, params, ORIGIN)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_bundle_contains_what_the_service_needs(bundle: Path) -> None:
    assert sorted(contents(bundle)) == [
        "detector.int8.onnx",
        "detector.json",
        "detector.onnx",
        "model_card.md",
        "seam_trees.npz",
    ]
    spec = load_bundle(bundle, 1).spec
    assert spec.int8.written is True
    assert spec.quality == {"sharp": [1.0]}
    assert spec.provenance == ORIGIN
    assert spec.metrics["auc"] == 0.5
    assert spec.metrics["video_auc"] is None
    for name, entry in spec.files.items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == entry.sha256
    assert load_bundle(bundle, 1, "int8").precision == "int8"


def test_the_bundle_decides_as_the_evaluation_does(bundle: Path, trained: Trained) -> None:
    store, loaded = trained.store, load_bundle(bundle, 1)
    measured = FaceScorer(torch_network(trained.model), PREPROCESS, trained.trees)
    table = decided(store.faces, stored_evidence(measured, store), trained.decision)
    scorer = FaceScorer(loaded.predict, loaded.spec.preprocess, loaded.trees)
    for face in range(len(store.faces)):
        evidence = scorer.of_images([image_of(store, face)])[0]
        face_px = store.faces.at[face, "face_px"]
        served = decide(evidence, loaded.spec.decision, face_px=face_px)
        assert served.score == pytest.approx(table.at[face, "score"], abs=1e-5)
        assert served.verdict == table.at[face, "verdict"]


@pytest.mark.slow
def test_a_second_export_is_the_same_bytes(
    bundle: Path, trained: Trained, params: Params, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "again", trained, params, ORIGIN)
    assert contents(tmp_path / "again") == contents(bundle)


def test_an_older_bundle_is_replaced_as_a_whole(
    bundle: Path,
    trained: Trained,
    params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported = (bundle / "detector.onnx").read_bytes()
    monkeypatch.setattr(bundle_writer, "export_onnx", lambda *_: exported)
    exact = params.export.model_copy(update={"int8": False})
    target = tmp_path / "export"
    target.mkdir()
    (target / "detector.int8.onnx").write_bytes(b"of an older detector")
    write_bundle(target, trained, params.model_copy(update={"export": exact}), ORIGIN)
    assert "detector.int8.onnx" not in contents(target)
    assert load_bundle(target, 1).spec.int8.reason == "export.int8 is false"
    with pytest.raises(BundleError, match=r"no int8 model .* export\.int8 is false"):
        load_bundle(target, 1, "int8")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_network_with_nan_weights_leaves_the_older_bundle(
    trained: Trained, params: Params, tmp_path: Path
) -> None:
    broken = SmallNet().eval()
    with torch.no_grad():
        broken.flat.weight[0, 0] = float("nan")
    target = tmp_path / "export"
    target.mkdir()
    (target / "detector.json").write_text("older")
    with pytest.raises(BundleError, match="not finite"):
        write_bundle(target, replace(trained, model=broken), params, ORIGIN)
    assert contents(target) == {"detector.json": b"older"}


def test_the_card_warns_about_the_sample_only(bundle: Path, trained: Trained) -> None:
    card = (bundle / "model_card.md").read_text(encoding="utf-8")
    assert "Trained on the embedded sample" in card
    assert "**Warning:** only 2 people with fakes in the test split.\n" in card
    assert "4 real faces of 3 and 4 fake faces of 2 independent groups of people" in card
    assert "| UniFace recall | 0.500 | 0.500 to 0.500 |\n| Recall, videos | 0.500 |" in card
    assert "Not defined: too few videos." in card
    assert "| AUC, videos | not defined | 0.500 to 0.500 |\n| Recall, all swaps | 0.500 |" in card
    assert "| blur px | 0.5: 0.750, 4: not defined |" in card
    assert "| all | 0.500 | 0.250 | 0.000 | 0.125 |" in card
    assert "| videos | yes | 3 | 2 | 0.500 | not defined | 0.000 | 0.000 |" in card
    assert "1 boosted trees on 1184 seam features" in card
    assert "Views of 64 px: 1.1x, 1.5x, 2x, aligned;" in card
    audit = "\n".join(f"- {sentence}" for sentence in audit_of().sentences())
    assert f"## Leak audit of the splits\n\n{audit}\n\n## How it works" in card
    spec = load_bundle(bundle, 1).spec
    assert spec.version in card
    models = bundle_writer.Models({"fp32": b"x"}, spec.int8)
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    own = ORIGIN.model_copy(update={"trained_on": "data"})
    assert "embedded sample" not in bundle_writer.render_card(trained, params, models, own)


def test_the_version_changes_with_the_decision_and_the_trees(trained: Trained) -> None:
    models = bundle_writer.Models({"fp32": b"x"}, bundle_writer.Int8Check(written=False, reason=""))
    first = bundle_writer.version_of(models, trained)
    calibrated = trained.decision.model_copy(update={"temperature": 2.0})
    assert len(first) == 12
    changed = [{"decision": calibrated}, {"trees": stump("power_drop_band0_0", -0.4)}]
    versions = {bundle_writer.version_of(models, replace(trained, **change)) for change in changed}
    assert len(versions | {first}) == 3


def test_parity_is_checked_on_golden_crops_and_on_stored_faces(
    trained: Trained, params: Params
) -> None:
    golden, real = parity_inputs(trained.store, PREPROCESS, params)
    assert golden.shape == (2, 3, 64, 64)
    assert real.shape == (32, 3, 64, 64)


def test_provenance_names_no_folder_of_this_machine(params: Params, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"rows")
    found = provenance_of(str(tmp_path / "faces"), 3, params, "c" * 64, {"a.csv": file})
    assert found.trained_on == "faces"
    assert found.data_sha256 == {"a.csv": hashlib.sha256(b"rows").hexdigest()}
    assert str(tmp_path) not in json.dumps(found.model_dump())
    assert provenance_of("data/sample", 3, params, "c" * 64, {}).trained_on == "data/sample"
    other = params.model_copy(update={"data": params.data.model_copy(update={"root": "x"})})
    assert provenance_of("x", 3, other, "c" * 64, {}).params_sha256 != found.params_sha256
    assert found.code_sha256 == "c" * 64


def test_headline_numbers_leave_remarks_out() -> None:
    found = headline_numbers(REPORT)
    assert "reason" not in found
    assert found["fpr"] == found["video_fpr_low"] == 0.5
    assert "n_real" not in found
