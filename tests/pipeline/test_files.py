import json
from pathlib import Path

import pytest

from pipeline.core.files import to_json, write_json


def test_keys_are_sorted_and_floats_have_six_digits() -> None:
    text = to_json({"b": 1 / 3, "a": {"z": 1, "y": (0.1 + 0.2, None, "text", True)}})
    assert text == (
        '{\n  "a": {\n    "y": [\n      0.3,\n      null,\n      "text",\n      true\n    ],\n'
        '    "z": 1\n  },\n  "b": 0.333333\n}\n'
    )


def test_large_and_small_numbers_survive() -> None:
    assert json.loads(to_json([123456789, 1.23456789e-7, 1e300])) == [123456789, 1.23457e-7, 1e300]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": value})


def test_a_refused_value_leaves_the_older_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]
