"""pipeline.training.evaluation.schema: the report is read as it was written, strictly."""

import json
from pathlib import Path

import pytest

from pipeline.core.files import write_json
from pipeline.runtime.errors import ManifestError
from pipeline.training.evaluation.schema import read_report
from tests.support.reports import report_of


def test_a_report_comes_back_without_new_members(tmp_path: Path) -> None:
    path = tmp_path / "test_report.json"
    report = report_of()
    write_json(path, report.to_json())
    assert read_report(path) == report
    assert read_report(path).to_json() == report.to_json()
    assert "reason" not in report.to_json()["frame"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": {"auc": float("nan")}}, r"test_report\.json: "),
        ({"frame": {"AUC": 0.5}}, r"test_report\.json: frame\.AUC: Extra inputs are not permitted"),
        ({"verdict": {"real": {}}}, r"test_report\.json: verdict\.real\.real: Field required"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "test_report.json"
    content = report_of().to_json() | change
    path.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=message):
        read_report(path)


def test_a_missing_report_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not found; `dvc repro evaluate` writes it"):
        read_report(tmp_path / "test_report.json")
