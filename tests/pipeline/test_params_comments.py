"""params.yaml: every key has a comment, and `dvc exp run -S` changes one line and keeps them."""

import difflib
import re
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from tests.support.imports import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
SECTION, KEY = re.compile(r"\w+:$"), re.compile(r"  \w+:")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def changed_lines(path: Path) -> list[str]:
    """Lines that were removed from or added to the repository's params.yaml."""
    after = path.read_text(encoding="utf-8").splitlines()
    return [line for line in difflib.ndiff(TEXT.splitlines(), after) if line[0] in "-+"]


def test_every_key_has_a_comment_of_one_line() -> None:
    lines = TEXT.splitlines()
    sections = yaml.safe_load(TEXT)
    above = [lines[number - 1] for number, line in enumerate(lines) if SECTION.match(line)]
    beside = [line for line in lines if KEY.match(line)]
    assert (len(above), len(beside)) == (len(sections), sum(map(len, sections.values())))
    assert [line for line in above if not line.startswith("# ")] == []
    assert [line for line in beside if not re.search(r"\S +# \S.{8,}", line)] == []
    assert max(map(len, lines)) <= 120


def test_dvc_writes_back_the_same_text(copy: Path) -> None:
    with modify_yaml(str(copy)):
        pass
    assert changed_lines(copy) == []


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lr=1e-05", "  lr: 1e-05 "),
        ("data.root=data/a/longer/path/than/before", "  root: data/a/longer/path/than/before "),
        ("crop_faces.model_file=face.onnx", "  model_file: face.onnx "),
        ("export.int8=false", "  int8: false "),
    ],
)
def test_an_override_changes_one_line_and_keeps_its_comment(
    copy: Path, override: str, line: str
) -> None:
    apply_overrides(str(copy), [override])
    before, after = changed_lines(copy)
    assert after.startswith(f"+ {line}")
    assert after.partition("#")[2] == before.partition("#")[2] != ""


def test_a_list_changes_its_own_lines_alone(copy: Path) -> None:
    apply_overrides(str(copy), ["model.views=[aligned]", "seam.seeds=[1,2,3]"])
    assert changed_lines(copy) == ["-   - 1.5x", "+   - 2", "+   - 3"]


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("split_groups.test_sources", "phone"),
        ("audit.allow", "near-duplicate:inswapper/a_b:c"),
    ],
)
def test_an_empty_list_that_is_filled_keeps_its_comment(copy: Path, name: str, entry: str) -> None:
    apply_overrides(str(copy), [f"{name}=[{entry}]"])
    before, key, item = changed_lines(copy)
    assert key.partition("#")[2] == before.partition("#")[2] != ""
    assert item == f"+   - {entry}"
