"""The README's tables and graph are those of the files that they are made from."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.bundle.load import read_spec
from pipeline.runtime.errors import PipelineError
from pipeline.training.review.readme_tables import (
    ABLATION_PARTS,
    GENUINE_CELLS,
    ablation_table,
    genuine_table,
    with_tables,
)
from tests.support.imports import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
GENUINE = json.loads((ROOT / "metrics/genuine.json").read_text(encoding="utf-8"))
ABLATION = json.loads((ROOT / "metrics/ablation.json").read_text(encoding="utf-8"))
CARD_ROWS = {
    "clean": "clean",
    "jpeg75": "JPEG 75",
    "jpeg50": "JPEG 50",
    "blur_both": "both blurred (1 px)",
    "half_size": "half size",
    "blur_reals_only": "only the reals blurred",
}


def test_the_readme_has_what_the_files_say() -> None:
    assert with_tables(README, ROOT) == README, "run `make readme`"


def test_no_measured_part_is_left_out() -> None:
    assert set(GENUINE_CELLS) == set(GENUINE["cell"])
    assert set(ABLATION_PARTS) == set(ABLATION["variant"])


def test_another_number_makes_another_table() -> None:
    changed = json.loads(json.dumps(GENUINE))
    changed["cell"]["half_size"] = {"auc": 0.9876, "recall": 0.1234, "fpr": 0.0}
    assert "| half size | .988 | .123 | .000 |" in genuine_table(changed)
    changed = json.loads(json.dumps(ABLATION))
    changed["variant"]["hull_mask"]["clean"] = {"mean": 1.0, "least": 0.99, "greatest": 1.0}
    assert "| hull mask instead of the square | 1.000 (.990-1.000) |" in ablation_table(changed)


def test_a_part_without_its_marks_is_named() -> None:
    with pytest.raises(PipelineError, match="expected one <!-- begin genuine -->"):
        with_tables(README.replace("<!-- end genuine -->", ""), ROOT)


def test_the_genuine_numbers_are_of_the_release_and_in_its_card() -> None:
    released = ROOT / "data/release"
    assert GENUINE["bundle"] == read_spec(released / "detector.json").version
    card = (released / "model_card.md").read_text(encoding="utf-8")
    section = _section(card, "Genuine INSwapper outputs")
    for cell, title in CARD_ROWS.items():
        (row,) = re.findall(rf"^\| {re.escape(title)} \|(.*)\|$", section, re.MULTILINE)
        names = ("auc", "recall_at_5_fpr", "recall", "fpr")
        assert list(map(float, row.split("|"))) == [GENUINE["cell"][cell][name] for name in names]
    assert f"{GENUINE['n_fake']} genuine outputs" in card
    assert f"and {GENUINE['n_real']} real photographs" in card


def test_the_stage_table_has_every_stage_and_its_outputs() -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    table = _section(README, "The stages")
    for name, stage in declared.items():
        title = f"{name}@{{split}}" if "matrix" in stage else name
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{title}` |")]
        _, _, _, writes, minutes, _ = row.split("|")
        for out in _outputs(stage.get("do", stage)):
            assert _is_named(out, writes), f"README: {name} writes {out}"
        assert float(minutes.split()[0]) > 0


def _section(text: str, title: str) -> str:
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return str(section)


def _outputs(stage: dict) -> list[str]:
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _is_named(out: str, cell: str) -> bool:
    """A path, its last part, its folder's pattern, or the file in a set of braces."""
    path = Path(out.replace("${item}", "{split}"))
    patterns = (path.name, f"{path.parent.name}/", f"{path.parent}/*{path.suffix}", f"{path}/")
    return any(text in cell for text in patterns)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_every_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"`make ([a-z-]+)", README) + re.findall(r"^make ([a-z-]+)", README, re.M)
    )
    assert named <= targets
    assert named


def test_the_examples_for_contributors_are_commits() -> None:
    table = _section(README, "Contributing")
    commits = re.findall(r"`([0-9a-f]{7})`", table)
    assert len(commits) == len(re.findall(r"^\| a", table, re.MULTILINE))
    git = ["git", "-C", str(ROOT)]
    shallow = subprocess.run(
        [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    ).stdout
    if shallow.strip() != "false":
        pytest.skip("the history is not here")
    for commit in commits:
        subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], check=True)
