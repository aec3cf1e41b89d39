"""pipeline.core.files: reproducible JSON, and files that are replaced whole."""

import json
from pathlib import Path

import pytest

from pipeline.core.files import fitting_path, replacing, to_json, write_json


def test_keys_are_sorted_and_floats_have_six_digits() -> None:
    text = to_json({"b": 1 / 3, "a": {"z": 1, "y": (0.1 + 0.2, None, "text", True)}})
    assert text == (
        '{\n  "a": {\n    "y": [\n      0.3,\n      null,\n      "text",\n      true\n    ],\n'
        '    "z": 1\n  },\n  "b": 0.333333\n}\n'
    )


def test_large_and_small_numbers_survive() -> None:
    assert json.loads(to_json([123456789, 1.23456789e-7, 1e300])) == [123456789, 1.23457e-7, 1e300]


@pytest.mark.parametrize(
    "path", ["a", "inswapper/" + 255 * "a", "ä/b c.d", 90 * "123456789/" + "a"]
)
def test_a_path_that_fits_stays_as_it_is(path: str) -> None:
    assert fitting_path(path[:900]) == path[:900]


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("inswapper/" + 256 * "a", "inswapper_" + 228 * "a"),
        (128 * "ä", 119 * "ä"),
        ("b" + 128 * "ä", "b" + 118 * "ä"),
        (301 * "ab/", (79 * "ab_") + "a"),
    ],
)
def test_a_path_that_is_too_long_becomes_one_unique_name(
    path: str, start: str, tmp_path: Path
) -> None:
    short, other = fitting_path(path), fitting_path(path + "x")
    (tmp_path / short).mkdir()
    (tmp_path / other).mkdir()
    assert short.startswith(f"{start}-")
    assert len(short) == len(start) + 17
    assert len(short.encode()) <= 255


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_json_cannot_represent_are_rejected(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": value})


def test_a_rejected_value_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("unique", [False, True])
def test_an_error_keeps_the_earlier_file_and_leaves_no_sibling(
    tmp_path: Path, unique: bool
) -> None:
    path = tmp_path / "deep" / "a.bin"
    with replacing(path, unique=unique) as temporary:
        temporary.write_bytes(b"first")
        assert temporary.parent == path.parent
        assert (temporary.name == "a.bin.tmp") != unique
        assert not path.exists()

    def fail() -> None:
        with replacing(path, unique=unique) as temporary:
            temporary.write_bytes(b"second")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_with_unique_siblings_do_not_collide(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with replacing(path, unique=True) as one, replacing(path, unique=True) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"  # the outer block is renamed last
