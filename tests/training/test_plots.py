import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.render.converter.vega import VegaConverter

from pipeline.training.scoring.plots import (
    MAX_POINTS,
    confusion_rows,
    copy_plots,
    ladder_rows,
    live_plots,
    log_table,
    precision_recall_points,
    reliability_points,
    roc_points,
    write_plots,
)
from tests.support.imports import ROOT
from tests.support.pipeline_files import declared_stages

FACES = pd.DataFrame(
    {
        "label": [0, 1, 0, 1],
        "score": [0.1, 0.9, 0.6, 0.4],
        "verdict": ["real", "fake", "suspicious", "undecided"],
    }
)
LADDERS = {"jpeg_quality": [0.9, None], "blur_px": [0.8, 0.7]}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def logged(folder: Path, name: str) -> list[dict[str, Any]]:
    """Rows of a plot, read as JSON, which has neither NaN nor Infinity."""
    text = (folder / f"plots/custom/{name}.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    return rows


def test_plots_have_six_digits_and_nulls_and_replace_earlier_ones(tmp_path: Path) -> None:
    with live_plots(tmp_path) as live:
        log_table(live, "old", [{"a": 1}])
    with live_plots(tmp_path) as live:
        log_table(live, "new", [{"a": 1 / 3, "b": None}, {"a": 2, "b": 0.5}])
        log_table(live, "words", [{"a": "x", "b": 3}])
    assert files(tmp_path).keys() == {"plots/custom/new.json", "plots/custom/words.json"}
    assert logged(tmp_path, "new") == [{"a": 0.333333, "b": None}, {"a": 2, "b": 0.5}]
    assert logged(tmp_path, "words") == [{"a": "x", "b": 3}]


def test_dvc_draws_a_plot_without_points(tmp_path: Path) -> None:
    """DVC silently leaves a list without rows out of its page."""
    with live_plots(tmp_path) as live:
        log_table(live, "roc", roc_points(FACES[FACES["label"] == 0]))
    rows = logged(tmp_path, "roc")
    assert rows == [{"fpr": None, "tpr": None}]
    found, _ = VegaConverter(
        "roc", {"roc.json": rows}, {"x": "fpr", "y": {"roc.json": "tpr"}}
    ).flat_datapoints("workspace")
    assert [row["tpr"] for row in found] == [None]


def test_published_plots_replace_earlier_ones(tmp_path: Path) -> None:
    live, folder = tmp_path / "live", tmp_path / "folder"
    for name in ("live/plots/custom/new.json", "live/metrics.json", "folder/plots/custom/old.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (live / "plots/custom/new.json").chmod(0o444)
    copy_plots(live, folder)
    copy_plots(live, folder)
    assert files(folder) == {"plots/custom/new.json": b"live/plots/custom/new.json"}
    assert os.access(folder / "plots/custom/new.json", os.W_OK)


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
    counts = {(row["actual"], row["predicted"]): row["faces"] for row in confusion_rows(FACES)}
    assert len(counts) == 8
    assert {cell for cell, count in counts.items() if count == 1} == {
        ("real", "real"),
        ("real", "suspicious"),
        ("fake", "fake"),
        ("fake", "undecided"),
    }
    assert sum(counts.values()) == len(FACES)


def test_ladders_share_their_steps(tmp_path: Path) -> None:
    with live_plots(tmp_path) as live:
        log_table(live, "ladder", ladder_rows(LADDERS))
    assert logged(tmp_path, "ladder") == [
        {"step": 1, "jpeg_quality": 0.9, "blur_px": 0.8},
        {"step": 2, "jpeg_quality": None, "blur_px": 0.7},
    ]


def declared() -> dict[str, dict[str, Any]]:
    """The plots of dvc.yaml by name."""
    entries = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    return {name: plot for entry in entries for name, plot in entry.items()}


def uncached_folders() -> set[str]:
    """Outputs of all stages in Git, with `cache: false`."""
    stages = declared_stages().values()
    outs = [out for stage in stages for out in stage.get("outs", []) if isinstance(out, dict)]
    return {name for out in outs for name, options in out.items() if not options["cache"]}


def test_every_declared_file_of_the_test_is_written_alike(tmp_path: Path) -> None:
    write_plots(tmp_path / "a", FACES, LADDERS)
    write_plots(tmp_path / "b", FACES, LADDERS)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    used = {name for plot in declared().values() for name in plot["y"]}
    prefix = "plots/evaluate/"
    assert set(files(tmp_path / "a")) == {
        name.removeprefix(prefix) for name in used if name.startswith(prefix)
    }


def test_declared_plots_have_titles_axes_and_templates() -> None:
    for plot in declared().values():
        assert all(plot[text] for text in ("title", "x_label", "y_label"))
        own = ROOT / f".dvc/plots/{plot['template']}.json"
        assert own.is_file() or plot["template"] in {"linear", "simple"}


def test_declared_plots_need_nothing_but_git() -> None:
    """A clone without DVC's cache leaves other files out of its page of plots.

    Images of faces are no plots: Git does not keep them, and a plot that is a folder in DVC's cache
    leaves such a clone with no page at all.
    """
    for plot in declared().values():
        for name, columns in plot["y"].items():
            assert any(name.startswith(f"{folder}/") for folder in uncached_folders()), name
            named = [columns] if isinstance(columns, str) else columns
            assert {plot["x"], *named} <= set(read_plot(ROOT / name).columns), name


def test_plots_in_git_are_small() -> None:
    """Their size does not follow the number of faces; 200 kB would be a run of 60 epochs."""
    assert 0 < sum(map(len, files(ROOT / "plots").values())) < 200_000


def read_plot(path: Path) -> pd.DataFrame:
    return pd.read_json(path) if path.suffix == ".json" else pd.read_csv(path, sep="\t")


def template(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (ROOT / f".dvc/plots/{name}.json").read_text(encoding="utf-8")
    )
    return found


@pytest.mark.parametrize("plot", ["confusion", "training_sweep"])
def test_templates_use_columns_that_exist(plot: str) -> None:
    entry = declared()[plot]
    (name,) = entry["y"]
    fields = set(re.findall(r'"field": "(\w+)"', json.dumps(template(entry["template"]))))
    assert fields - {"rev"} <= set(read_plot(ROOT / name).columns)
    assert "rev" in fields  # `dvc plots diff` draws both revisions


def test_the_det_template_calculates_from_the_roc_table() -> None:
    det = template("det")
    used = set(re.findall(r"datum\['(\w+)'\]", json.dumps(det["transform"])))
    assert used == set(roc_points(FACES).columns)
    made = {step["as"] for step in det["transform"]}
    assert {det["encoding"][axis]["field"] for axis in "xy"} == made
