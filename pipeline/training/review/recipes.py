"""Recipes: partial params files whose values `dvc exp run` takes as overrides."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.params import Params, read_sections, validated

# Anything else is quoted, so that Hydra reads neither numbers nor operators into a text.
PLAIN_TEXT = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_]\w*", re.IGNORECASE)


def read_overrides(path: Path, base: Params) -> list[str]:
    """Overrides such as `train.lr=0.0003`, one per value of a recipe, in the file's order.

    base: the parameters that the recipe changes. Raises ParamsError, one line per fault, naming
    the recipe and the key: unknown keys, wrong types and contradictions with the base.
    """
    recipe = read_sections(path)
    merged: dict[str, Any] = base.model_dump()
    for section, values in recipe.items():
        if not isinstance(values, dict):
            raise ParamsError(f"{path}: {section}: expected keys and values, got {values!r}")
        merged[section] = {**merged.get(section, {}), **values}
    validated(merged, path)
    return list(_overrides(recipe))


def _overrides(recipe: dict[str, dict[str, Any]]) -> Iterator[str]:
    for section, values in recipe.items():
        for key, value in values.items():
            yield f"{section}.{key}={_hydra(value)}"


def _hydra(value: Any) -> str:
    """A value as Hydra's override grammar writes it, without spaces."""
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, str) and not PLAIN_TEXT.fullmatch(value):
        escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
        return f"'{escaped}'"
    return value if isinstance(value, str) else json.dumps(value)
