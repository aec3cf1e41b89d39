"""Generated tables and graph of the README files equal the files that they are made from."""

import json
import re
from pathlib import Path

import pytest

from pipeline.bundle.load import read_spec
from pipeline.runtime.errors import PipelineError
from pipeline.training.review.readme_tables import (
    ABLATION_PARTS,
    GENUINE_CELLS,
    ablation_table,
    generated_parts,
    genuine_table,
    with_parts,
)
from tests.support.imports import ROOT
from tests.support.pipeline_files import declared_stages
from tests.support.readmes import readme, section

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


def test_the_readmes_have_what_the_files_say() -> None:
    for path, parts in generated_parts(ROOT).items():
        assert with_parts(readme(path), parts) == readme(path), f"{path}: run `make readme`"


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
        with_parts("<!-- begin genuine -->\n", {"genuine": "| a |"})


def test_the_genuine_numbers_are_of_the_release_and_in_its_card() -> None:
    released = ROOT / "data/release"
    assert GENUINE["bundle"] == read_spec(released / "detector.json").version
    card = (released / "model_card.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^## Genuine INSwapper outputs\n(.*?)^## ", card, re.M | re.DOTALL)
    for cell, title in CARD_ROWS.items():
        (row,) = re.findall(rf"^\| {re.escape(title)} \|(.*)\|$", table, re.MULTILINE)
        names = ("auc", "recall_at_5_fpr", "recall", "fpr")
        assert list(map(float, row.split("|"))) == [GENUINE["cell"][cell][name] for name in names]
    assert f"{GENUINE['n_fake']} genuine outputs" in card
    assert f"and {GENUINE['n_real']} real photographs" in card


def test_the_stage_table_has_every_stage_and_its_outputs() -> None:
    table = section("README.md", "The pipeline")
    for name, stage in declared_stages().items():
        title = f"{name}@{{split}}" if "matrix" in stage else name
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{title}` |")]
        _, _, _, writes, minutes, _ = row.split("|")
        for out in _outputs(stage.get("do", stage)):
            assert _is_named(out, writes), f"README: {name} writes {out}"
        assert float(minutes.split()[0]) > 0


def _outputs(stage: dict) -> list[str]:
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _is_named(out: str, cell: str) -> bool:
    """A path, its last part, its folder's pattern, or the file in a set of braces."""
    path = Path(out.replace("${item}", "{split}"))
    patterns = (path.name, f"{path.parent.name}/", f"{path.parent}/*{path.suffix}", f"{path}/")
    return any(text in cell for text in patterns)
