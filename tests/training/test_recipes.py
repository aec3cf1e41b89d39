"""The recipes: checked like params.yaml, given to `dvc exp run` value for value."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.params import load_params
from pipeline.training.review.recipes import read_overrides
from tests.support.imports import ROOT
from tests.support.pipeline_files import declared_stages

RECIPES = ROOT / "pipeline/training/recipes"
BASE = load_params(ROOT / "params.yaml")
# What `make production` and `make production-mobile` passed when the Makefile held the values.
SHARED = """pseudo_swap.frac=0.4 pseudo_swap.tight_frac=0.25 crop_faces.context_max_px=640
    split_groups.val_frac=0.15 split_groups.test_frac=0.15 seam.pairs=8000 seam.seeds=[1,2,3]
    model.views=[aligned]"""
OVERRIDES = {
    "production": f"""{SHARED} model.backbone=convnext_tiny model.weights=hub train.precision=auto
        train.epochs=30 train.pairs_per_epoch=4000 train.batch_size=32 train.accumulate=2
        train.lr=0.0003 train.ema_decay=0.999 train.warmup_epochs=2 train.frozen_epochs=3
        train.last_stages_until_epoch=15 train.patience=8""",
    "production_mobile": f"""{SHARED} train.epochs=16 train.pairs_per_epoch=1200 train.batch_size=32
        train.lr=0.002 train.backbone_lr_scale=0.15 train.full_lr_scale=1.0 train.min_lr_frac=0.01
        train.ema_decay=0.99 train.last_stages_until_epoch=2 train.patience=16 train.val_faces=320
        train.precision=auto train.threads=1 evaluate.ladder_faces=60""",
}


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.iterdir()))
def test_overrides_are_those_of_the_recipe(name: str, tmp_path: Path) -> None:
    overrides = read_overrides(RECIPES / f"{name}.yaml", BASE)
    assert sorted(overrides) == sorted(OVERRIDES[name].split())
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(str(path), overrides)
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    expected = {key: values | recipe.get(key, {}) for key, values in BASE.model_dump().items()}
    assert load_params(path).model_dump() == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("train:\n  lrr: 0.1\n", "train.lrr: Extra inputs are not permitted (got 0.1)"),
        ("trian:\n  lr: 0.1\n", "trian: Extra inputs are not permitted (got {'lr': 0.1})"),
        ("train:\n  lr: abc\n", "train.lr: Input should be a valid number (got 'abc')"),
        ("train: 3\n", "train: expected keys and values, got 3"),
        ("train:\n  lr: 1\n  lr: 2\n", "line 3: duplicate key 'lr'"),
        ("train:\n  warmup_epochs: 9\n", "train: warmup_epochs 9.0 is above epochs 6"),
        (
            "model:\n  views:\n  - 3x\n",
            "model.views: '3x' is not one of 1.1x, 1.5x, 2x, aligned",
        ),
        ("", "expected a mapping of sections, got NoneType"),
    ],
)
def test_a_fault_names_file_and_key(text: str, fault: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ParamsError) as raised:
        read_overrides(path, BASE)
    assert str(raised.value) == f"{path}: {fault}"


@pytest.mark.parametrize(
    "value",
    ["1.5x", "32-true", "true", "12", "a b", "it's", "back\\slash", "\\'", "", "[x]", "null"],
)
def test_any_text_arrives_as_it_is(value: str, tmp_path: Path) -> None:
    text = yaml.safe_dump({"model": {"weights_file": value}, "split_groups": {"val_frac": 1e-05}})
    overrides = read_overrides(written(tmp_path, text), BASE)
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(str(path), overrides)
    loaded = load_params(path)
    assert (loaded.model.weights_file, loaded.split_groups.val_frac) == (value, 1e-05)


def run_recipe(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.run_recipe", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_passes_other_options_on() -> None:
    recipe = "pipeline/training/recipes/production_mobile.yaml"
    done = run_recipe(recipe, "--print", "-S", "data.root=data/photos", "--queue")
    command = shlex.split(done.stdout)
    assert command[:5] == ["dvc", "exp", "run", "-n", "production-mobile"]
    assert command[-3:] == ["-S", "data.root=data/photos", "--queue"]
    assert command[6:-3:2] == read_overrides(ROOT / recipe, BASE)
    assert set(command[5:-3:2]) == {"-S"}


def test_a_faulty_recipe_runs_nothing(tmp_path: Path) -> None:
    done = run_recipe(str(written(tmp_path, "train:\n  lrr: 0.1\n")))
    assert (done.returncode, done.stdout) == (2, "")
    assert "recipe.yaml: train.lrr: Extra inputs are not permitted" in done.stderr
    assert run_recipe(str(tmp_path / "none.yaml")).returncode == 2


def test_no_stage_depends_on_the_recipes() -> None:
    deps = {dep for stage in declared_stages().values() for dep in stage["deps"]}
    assert not [dep for dep in deps if RECIPES.is_relative_to(ROOT / dep)]
