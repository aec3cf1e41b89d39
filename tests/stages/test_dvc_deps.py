"""Every stage declares exactly the folders of the code it runs, so that no result is stale."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.imports import PACKAGES, ROOT, closure, module_file
from tests.support.pipeline_files import declared_stages

STAGES = declared_stages()
# Distributes work and reports errors; affects no output (tests/pipeline/test_incremental.py).
RUNTIME = "pipeline/runtime"


def entry_points(stage: dict[str, Any]) -> set[Path]:
    """Files of all `python -m stages.NAME` in a stage's command."""
    commands = stage["cmd"] if isinstance(stage["cmd"], list) else [stage["cmd"]]
    words = [word for command in commands for word in command.split()]
    files = {file for word in words if (file := module_file(word)) is not None}
    return {file for file in files if file.parent.name == "stages"}


def declared_code(stage: dict[str, Any]) -> list[str]:
    """Dependencies in this repository's packages; DVC allows `path` and `path: {options}`."""
    deps = [next(iter(dep)) if isinstance(dep, dict) else dep for dep in stage.get("deps", [])]
    return [dep for dep in deps if dep.split("/")[0] in PACKAGES]


def needed_code(stage: dict[str, Any]) -> set[str]:
    """The stage's script and the folders of all its imports, except pipeline/runtime."""
    entries = entry_points(stage)
    reached = {path for entry in entries for path in closure(entry)} - entries
    folders = {path.parent.relative_to(ROOT).as_posix() for path in reached}
    return (folders | {entry.relative_to(ROOT).as_posix() for entry in entries}) - {RUNTIME}


@pytest.mark.parametrize("name", STAGES)
def test_stage_runs_its_own_module(name: str) -> None:
    assert entry_points(STAGES[name]) == {ROOT / "stages" / f"{name}.py"}


@pytest.mark.parametrize("name", STAGES)
def test_declared_folders_are_those_of_the_imported_code(name: str) -> None:
    stage = STAGES[name]
    declared, needed = declared_code(stage), needed_code(stage)
    missing, extra = sorted(needed - set(declared)), sorted(set(declared) - needed)
    assert not missing, f"dvc.yaml: {name}: deps: add {missing}"
    assert not extra, f"dvc.yaml: {name}: deps: remove {extra}"
    assert len(declared) == len(set(declared)), f"dvc.yaml: {name}: deps: listed twice"


def test_no_declared_folder_contains_another() -> None:
    """A dependency on `pipeline/training` would rerun everything after any change."""
    for name, stage in STAGES.items():
        declared = declared_code(stage)
        assert not [a for a in declared for b in declared if b.startswith(f"{a}/")], name


def test_the_sample_is_needed_only_as_a_data_root() -> None:
    """Own data do not build it: a run takes dvc.yaml and what its stages depend on."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert set(STAGES) - set(pipeline) == {"build_sample"}
    deps = [dep for stage in pipeline.values() for dep in stage["deps"]]
    assert not [dep for dep in deps if "sample" in dep]


def test_all_forms_of_a_stage_are_parsed() -> None:
    deps = ["pipeline/core", {"pipeline/views": {"persist": True}}, "data/a.csv"]
    stage = {"cmd": "python -m stages.show_result --split ${item}", "deps": deps}
    assert entry_points(stage) == {ROOT / "stages/show_result.py"}
    assert declared_code(stage) == ["pipeline/core", "pipeline/views"]
    assert entry_points({"cmd": ["echo", "python -m stages.show_result"]}) == entry_points(stage)
