"""JSON files that are the same bytes for the same values."""

import json
import math
from pathlib import Path
from typing import Any


def to_json(data: Any) -> str:
    """Sorted keys, two spaces, floats with six significant digits, a final newline.

    Raises ValueError for NaN and infinity, which JSON does not have.
    """
    return json.dumps(_rounded(data), indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, data: Any) -> None:
    """Write `to_json(data)` beside the file, then rename."""
    text = to_json(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    if isinstance(data, float) and math.isfinite(data):
        return float(f"{data:.6g}")
    return data
