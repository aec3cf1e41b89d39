import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.training.scoring.plots import (
    MAX_POINTS,
    confusion_rows,
    ladder_rows,
    precision_recall_points,
    reliability_points,
    roc_points,
    write_plots,
    write_table,
)
from tests.support.imports import ROOT

FACES = pd.DataFrame(
    {
        "label": [0, 1, 0, 1],
        "score": [0.1, 0.9, 0.6, 0.4],
        "verdict": ["real", "fake", "suspicious", "undecided"],
    }
)
LADDERS = {"jpeg_quality": [0.9, None], "blur_px": [0.8, 0.7]}


def test_tables_are_written_short_and_alike(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.csv"
    write_table(path, [{"a": 1 / 3, "b": None}, {"a": 2, "b": "x"}])
    assert path.read_bytes() == b"a,b\n0.333333,\n2,x\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["t.csv"]


def test_roc_runs_from_corner_to_corner() -> None:
    points = roc_points(FACES)
    assert points.iloc[0].tolist() == [0, 0]
    assert points.iloc[-1].tolist() == [1, 1]
    assert {"fpr": 0.5, "tpr": 1.0} in points.to_dict("records")


def test_precision_and_recall_by_ascending_recall() -> None:
    points = precision_recall_points(FACES)
    assert points["recall"].is_monotonic_increasing
    assert {"recall": 1.0, "precision": pytest.approx(2 / 3)} in points.to_dict("records")


def test_long_curves_keep_their_ends() -> None:
    rng = np.random.default_rng(0)
    many = pd.DataFrame({"label": rng.integers(0, 2, 5000), "score": rng.random(5000)})
    points = roc_points(many)
    assert len(points) == MAX_POINTS
    assert points.iloc[-1].tolist() == [1, 1]


@pytest.mark.parametrize("points", [roc_points, precision_recall_points])
def test_one_class_gives_an_empty_curve(points) -> None:
    assert len(points(FACES[FACES["label"] == 0])) == 0


def test_reliability_and_confusion() -> None:
    assert reliability_points(FACES)["count"].tolist() == [1, 1, 1, 1]
    assert confusion_rows(FACES).to_dict("records") == [
        {"actual": "fake", "predicted": "fake"},
        {"actual": "fake", "predicted": "undecided"},
        {"actual": "real", "predicted": "real"},
        {"actual": "real", "predicted": "suspicious"},
    ]


def test_ladders_share_their_steps(tmp_path: Path) -> None:
    write_table(tmp_path / "ladder.csv", ladder_rows(LADDERS))
    text = (tmp_path / "ladder.csv").read_text()
    assert text == "step,jpeg_quality,blur_px\n1,0.9,0.8\n2,,0.7\n"


def test_every_declared_file_is_written(tmp_path: Path) -> None:
    write_plots(tmp_path, FACES, LADDERS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion.csv",
        "ladder.csv",
        "precision_recall.csv",
        "reliability.csv",
        "roc.csv",
    ]


def declared() -> list[dict[str, Any]]:
    """The plots of dvc.yaml. Images of faces are none of them: Git does not keep their files."""
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    return found


def test_declared_plots_have_titles_axes_and_columns_that_exist() -> None:
    for plot in (plot for entry in declared() for plot in entry.values()):
        assert all(plot[text] for text in ("title", "x_label", "y_label"))
        for name, columns in plot["y"].items():
            if not name.startswith("plots/"):  # DVCLive's files are not in Git
                continue
            named = [columns] if isinstance(columns, str) else columns
            assert {plot["x"], *named} <= set(pd.read_csv(ROOT / name).columns)


def test_the_det_template_calculates_from_the_roc_table() -> None:
    template = json.loads((ROOT / ".dvc/plots/det.json").read_text(encoding="utf-8"))
    used = set(re.findall(r"datum\['(\w+)'\]", json.dumps(template["transform"])))
    assert used == set(roc_points(FACES).columns)
    made = {step["as"] for step in template["transform"]}
    assert {template["encoding"][axis]["field"] for axis in "xy"} == made
