"""calibrate, evaluate and export as run by DVC, on drawn splits and an untrained network."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch
import yaml

from pipeline.bundle.load import load_bundle
from pipeline.core.files import write_json
from pipeline.core.manifest import SkipRow, SplitRow, TagRow, write_rows
from pipeline.runtime.sections import ModelParams
from pipeline.training.network.checkpoint import CheckpointMeta, save_detector
from pipeline.training.network.model import build_model
from pipeline.training.scoring.plots import live_plots, log_table
from pipeline.training.store.packing import pack
from pipeline.training.store.reader import open_zarr, set_digest
from tests.support.audits import audit_of
from tests.support.face_stores import PREPROCESS, drawn_store
from tests.support.stage_runs import run_stage
from tests.support.tiny_trees import stump

ROOT = Path(__file__).parents[2]
PEOPLE = {"train": 2, "val": 3, "test": 4}
MODEL = {
    "backbone": "test_efficientnet",
    "weights": "none",
    "views": ["1.1x", "1.5x", "2x", "aligned"],
    "rgb_dim": 32,
    "frequency_dim": 16,
    "hidden_dim": 16,
}


def write_split(name: str, people: int) -> None:
    """Write a packed split below the current folder, with its own people."""
    store = drawn_store(people, 1)
    rows = []
    for number, values in enumerate(store.table.to_dict("records")):
        known = {key: value for key, value in values.items() if value == value}  # not NaN
        person = f"{name}_{known['identity_id']}"
        stem = f"data/crops/{name}/{known['face_id'].replace('/', '_')}"
        paths = dict.fromkeys(("image_path", "context_path"), f"{stem}.png")
        face = int(store.face_of_crop[number])
        Path(stem).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(paths["context_path"], store.context(face)[..., ::-1])
        own = {"identity_id": person, "group": person, "source_identity_id": ""}
        rows.append(SplitRow.model_validate({**known, **paths, **own}))
    manifest = Path(f"data/splits/{name}.csv")
    write_rows(manifest, rows, SplitRow)
    pack(manifest, Path(f"data/zarr/{name}.zarr"), PREPROCESS, 16)


def write_checkpoint(params: dict) -> None:
    torch.manual_seed(0)
    model_params = ModelParams.model_validate(params["model"])
    model = build_model(model_params, PREPROCESS)
    meta = CheckpointMeta(model_params, PREPROCESS, epoch=1, metric=0.5, quality={})
    save_detector(Path("data/checkpoints/best_model.pt"), model.state_dict(), meta)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["preprocess"]["size_px"] = PREPROCESS.size_px
    params["model"] |= MODEL
    params["evaluate"] |= {"bootstrap": 100, "ladder_faces": 4}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for name, people in PEOPLE.items():
        write_split(name, people)
    for name in ("videos", "faces"):
        write_rows(Path(f"data/manifests/skipped_{name}.csv"), [], SkipRow)
    write_json(Path("metrics/audit.json"), audit_of().model_dump())
    write_rows(Path("data/manifests/tags.csv"), [], TagRow)
    write_checkpoint(params)
    with live_plots(Path("metrics/train")) as live:
        log_table(live, "threshold_sweep", [{"threshold": 0.5, "product": 1.0}])
    Path("data/seam").mkdir()
    Path("data/seam/trees.npz").write_bytes(stump("power_drop_band0_0", -0.5).to_bytes())
    return tmp_path


def run(repository: Path, stage: str) -> str:
    done = run_stage(repository, stage, "-W", "error")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert all(line.startswith(f"{stage}: ") for line in done.stdout.splitlines())
    return done.stdout


def written(folder: Path) -> dict[str, bytes]:
    outs = ("data/calibration.json", "data/reports", "data/export", "metrics", "plots")
    paths = [folder / out for out in outs]
    files = [f for path in paths for f in (path, *path.rglob("*")) if f.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}


@pytest.mark.slow
def test_the_three_stages_run_and_export_is_reproducible(repository: Path) -> None:
    printed = {stage: run(repository, stage) for stage in ("calibrate", "evaluate", "export")}
    few = "only 3 people with fakes and 3 people with reals in the validation split: numbers"
    assert f"\ncalibrate: warning: {few}" in printed["calibrate"]
    few = "only 4 people with fakes and 4 people with reals in the test split, 3 people with fakes"
    assert f"\nevaluate: warning: {few}" in printed["evaluate"]
    first = written(repository)
    assert {"metrics/val_report.json", "metrics/test_report.json"} <= set(first)
    for name in ("test", "val"):
        numbers = json.loads(first[f"metrics/{name}.json"])
        assert len(numbers) <= 25
        assert not [value for value in numbers.values() if isinstance(value, dict | list)]
        store = open_zarr(repository / f"data/zarr/{name}.zarr")
        assert numbers[f"{name}_set"] == set_digest(store)
        assert numbers["groups_fake"] == PEOPLE[name]
        assert numbers["uniface_recall"] is None
    drawn = {path for path in first if path.startswith("plots/")}
    sweep = "plots/custom/threshold_sweep.json"
    assert {f"plots/calibrate/{sweep}", f"plots/train/{sweep}"} <= drawn
    assert {path.split("/")[1] for path in drawn} == {"calibrate", "evaluate", "train"}
    assert all("/plots/custom/" in path for path in drawn)
    bundle = load_bundle(repository / "data/export", 1)
    assert bundle.spec.provenance.trained_on == "data/sample"
    assert "trees.npz" in bundle.spec.provenance.data_sha256
    assert bundle.trees.to_bytes() == (repository / "data/seam/trees.npz").read_bytes()
    assert not any(str(repository).encode() in content for content in first.values())
    shutil.rmtree(repository / "data/export")
    run(repository, "export")
    assert written(repository) == first


@pytest.mark.slow
def test_a_stage_without_its_inputs_reports_what_to_run(repository: Path) -> None:
    done = run_stage(repository, "evaluate")
    assert done.returncode == 2
    assert done.stderr.strip() == "data/calibration.json: not found; run calibrate"
    assert repository.is_dir()
