"""The stages of the repository, from its two pipeline files."""

from typing import Any

import yaml

from tests.support.imports import ROOT

PIPELINE_FILES = ("dvc.yaml", "data/dvc.yaml")


def declared_stages() -> dict[str, dict[str, Any]]:
    """Definition of each stage by name; a matrix stage appears once."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in PIPELINE_FILES]
    return {name: stage for text in texts for name, stage in yaml.safe_load(text)["stages"].items()}
