"""pipeline.training.review.change_report: the report on a change, and its workflow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.core.files import write_json
from pipeline.runtime.errors import PipelineError
from pipeline.training.review.change_report import (
    TEST_METRICS,
    TEST_REPORT,
    change_report,
    stale_stages,
)
from tests.support.clones import clone_working_tree, run
from tests.support.imports import ROOT, closure, imported_names
from tests.support.reports import report_of

WORKFLOW = ROOT / ".github/workflows/report.yml"

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A clone without data whose working tree is committed, with that commit tagged `base`."""
    target = tmp_path / "repo"
    clone_working_tree(target)
    report = report_of()
    write_json(target / TEST_REPORT, report.to_json())
    write_json(target / TEST_METRICS, report.summary)
    for name in ("val", "seam"):
        write_json(target / f"metrics/{name}.json", {"auc": 0.5, "val_set": "0a"})
    run(target, "git", "add", "-A")
    run(target, "git", "commit", "-q", "--allow-empty", "-m", "base")
    run(target, "git", "tag", "base")
    return target


def change(repo: Path, auc: float, **values: object) -> None:
    """Change the learning rate, the AUC and other values of the test metrics."""
    params = repo / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(re.sub(r"(?m)^(  lr:).*$", r"\1 0.5", text), encoding="utf-8")
    report = report_of()
    headline = report.headline.model_copy(update={"auc": auc})
    changed = report.model_copy(update={"headline": headline, **values})
    write_json(repo / TEST_REPORT, changed.to_json())
    write_json(repo / TEST_METRICS, changed.summary)


@pytest.mark.slow
def test_the_report_lists_changed_parameters_and_metrics(repo: Path) -> None:
    change(repo, 0.75)
    report = change_report(repo, "base")
    assert report.startswith("## Change against `base`\n")
    assert "| auc | 0.500 | 0.750 | 0.500 to 0.500 | +0.250 |" in report
    assert "3 people with reals, 2 with fakes (independent groups)" in report
    assert "not comparable" not in report
    assert re.search(r"\| params.yaml \| train.lr \| [\d.]+ \| 0.5 \|", report)
    assert "<summary>All metrics: 1 changed</summary>" in report
    assert "train" in stale_stages(repo)
    assert "> **dvc.lock is stale**: " in report


@pytest.mark.slow
def test_another_test_set_is_not_compared(repo: Path) -> None:
    change(repo, 0.75, test_set="other")
    for name in ("val", "seam"):
        path = repo / f"metrics/{name}.json"
        path.write_text('{"auc": 0.75, "val_set": "0a"}', encoding="utf-8")
    report = change_report(repo, "base")
    reason = "measured on a different test set: not comparable"
    assert f"> `metrics/test.json`: {reason}\n" in report
    assert "| auc | - | 0.750 | 0.500 to 0.500 | - |" in report
    assert "| metrics/test.json |" not in report
    assert "<summary>All metrics: 2 changed</summary>" in report  # those of validation


@pytest.mark.slow
def test_a_base_that_does_not_name_its_set_is_not_compared(repo: Path) -> None:
    path = repo / "metrics/val.json"
    now = path.read_text(encoding="utf-8")
    path.write_text('{"auc": 0.25}', encoding="utf-8")
    run(repo, "git", "commit", "-qam", "older metrics")
    path.write_text(now, encoding="utf-8")
    report = change_report(repo, "HEAD")
    reason = "`HEAD` does not say which validation set it used: not comparable"
    assert f"> `metrics/val.json`: {reason}\n" in report
    assert "All metrics: no change." in report


@pytest.mark.slow
def test_a_repository_without_changes_or_data_is_reported(repo: Path) -> None:
    report = change_report(repo, "base")
    assert "Parameters: no change." in report
    assert "All metrics: no change." in report


@pytest.mark.slow
def test_a_base_without_metrics_gives_no_values_before(repo: Path) -> None:
    run(repo, "git", "rm", "-q", "--cached", TEST_METRICS)
    run(repo, "git", "commit", "-qm", "no metrics")
    report = change_report(repo, "HEAD")
    assert "| auc | - | 0.500 |" in report
    assert "not comparable" not in report


@pytest.mark.slow
def test_an_unknown_base_is_named(repo: Path) -> None:
    with pytest.raises(PipelineError, match="unknown Git revision 'nosuch'"):
        change_report(repo, "nosuch")


def test_the_report_needs_no_package_but_dvc() -> None:
    files = closure(ROOT / "stages/report_change.py")
    names = {name.split(".")[0] for file in files for name in imported_names(file)}
    assert names - sys.stdlib_module_names == {"pipeline"}


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("github-workflows", ".github/workflows/report.yml"),
        ("github-workflows", ".github/workflows/ci.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_files_follow_their_schema(schema: str, name: str) -> None:
    """Those that check-jsonschema carries."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, str(ROOT / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_workflow_step_writes_the_report(repo: Path) -> None:
    run(repo, "git", "update-ref", "refs/remotes/origin/trunk", "HEAD")
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["report"]["steps"]
    (command,) = [step["run"] for step in steps if "make report" in step.get("run", "")]
    run(repo, "bash", "-euc", command, GITHUB_BASE_REF="trunk", PYTHON=sys.executable)
    written = (repo / "report.md").read_text(encoding="utf-8")
    assert written.startswith("## Change against `origin/trunk`\n")
