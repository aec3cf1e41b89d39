"""The stages of the repository, from its two pipeline files and their locks."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.imports import ROOT

PIPELINE_FILES = ("dvc.yaml", "data/dvc.yaml")


def declared_stages() -> dict[str, dict[str, Any]]:
    """Definition of each stage by name; a matrix stage appears once."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in PIPELINE_FILES]
    return {name: stage for text in texts for name, stage in yaml.safe_load(text)["stages"].items()}


def locked_outputs(repository: Path) -> dict[str, Any]:
    """Paths, sizes and MD5 of the outputs of each stage that has run, by name."""
    locks = [(repository / name).with_suffix(".lock") for name in PIPELINE_FILES]
    found = [yaml.safe_load(lock.read_text(encoding="utf-8")) for lock in locks if lock.exists()]
    return {name: stage["outs"] for lock in found for name, stage in lock["stages"].items()}
