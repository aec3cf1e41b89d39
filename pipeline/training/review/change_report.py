"""Report on a change of parameters and metrics, as one Markdown comment for a pull request.

The tables come from dvc. The report needs only git and dvc, and no data, because metrics are in
Git.
"""

import json
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from pipeline.runtime.errors import PipelineError

TEST_METRICS: Final = "metrics/test.json"
TEST_REPORT: Final = "metrics/test_report.json"
# The key that says which faces a file was measured on, and the name of their split.
MEASURED_ON: Final = {
    TEST_METRICS: ("test_set", "test"),
    "metrics/val.json": ("val_set", "validation"),
    "metrics/seam.json": ("val_set", "validation"),
}
LOCK: Final = "dvc.lock"


def change_report(repo: Path, base: str) -> str:
    """Compare the working tree of `repo` with the Git revision `base`, in Markdown.

    Raises PipelineError with dvc's message if dvc fails, as for an unknown revision.
    """
    params = _compact(_dvc(repo, "params", "diff", base, "--md"))
    metrics = _compact(_dvc(repo, "metrics", "diff", base, "--md", "--precision", "3"))
    elsewhere = _not_comparable(repo, base)
    metrics = _without_rows(metrics, elsewhere)
    old = {} if TEST_METRICS in elsewhere else _numbers_at(repo, base, TEST_METRICS)
    parts = [f"## Change against `{base}`", _headline(repo, old)]
    parts += [f"> `{path}`: {reason}" for path, reason in elsewhere.items()]
    if stale := stale_stages(repo):
        parts.append(
            f"> **{LOCK} is stale**: {', '.join(f'`{stage}`' for stage in stale)} changed in code"
            " or parameters but were not rerun. Run `dvc repro` and commit the metrics."
        )
    parts += [_section("Parameters", params), _section("All metrics", metrics)]
    parts.append(f"Plots side by side: `dvc plots diff {base}`")
    return "\n\n".join(parts) + "\n"


def stale_stages(repo: Path) -> list[str]:
    """Stages whose code or parameters differ from dvc.lock; missing data is ignored."""
    status = json.loads(_dvc(repo, "status", "--json"))
    return [stage for stage, changes in status.items() if any(map(_is_changed, changes))]


def _is_changed(change: str | dict[str, dict[str, Any]]) -> bool:
    if isinstance(change, str):  # "changed command"
        return True
    states = change.get("changed deps", {}).values()
    return any(isinstance(state, dict) or state == "modified" for state in states)


def _headline(repo: Path, old: dict[str, Any]) -> str:
    """Table of the test split's headline metrics: before, now with 95 % interval, and change."""
    now = json.loads((repo / TEST_REPORT).read_text(encoding="utf-8"))["headline"]
    lines = ["| test split | before | now | 95 % interval | change |", "| --- " * 5 + "|"]
    for name in (name for name in now if f"{name}_low" in now):
        before, after = old.get(name), now[name]
        interval = f"{_text(now[f'{name}_low'])} to {_text(now[f'{name}_high'])}"
        both = before is not None and after is not None
        change = f"{after - before:+.3f}" if both else "-"
        lines.append(f"| {name} | {_text(before)} | {_text(after)} | {interval} | {change} |")
    people = f"{now['groups_real']} people with reals, {now['groups_fake']} with fakes"
    return "\n".join([*lines, "", f"The test split has {people} (independent groups)."])


def _not_comparable(repo: Path, base: str) -> dict[str, str]:
    """Why a metrics file must not be compared with that of the base, by path."""
    found = {}
    for path, (key, split) in MEASURED_ON.items():
        old = _numbers_at(repo, base, path)
        now = json.loads((repo / path).read_text(encoding="utf-8"))
        if old and key not in old:
            found[path] = f"`{base}` does not say which {split} set it used: not comparable"
        elif old and old[key] != now[key]:
            found[path] = f"measured on a different {split} set: not comparable"
    return found


def _without_rows(table: str, paths: Collection[str]) -> str:
    """dvc's Markdown table of metrics without the rows of these files."""
    starts = tuple(f"| {path} |" for path in paths)
    return "\n".join(line for line in table.splitlines() if not line.startswith(starts))


def _numbers_at(repo: Path, base: str, path: str) -> dict[str, Any]:
    """Content of a metrics file in a revision; empty if it is not there."""
    shown = _run(repo, "git", "show", f"{base}:{path}")
    return dict(json.loads(shown.stdout)) if shown.returncode == 0 else {}


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _section(title: str, table: str) -> str:
    """A collapsed table with its number of rows, or a line that says nothing changed."""
    rows = max(0, len(table.splitlines()) - 2)
    if not rows:
        return f"{title}: no change."
    return f"<details><summary>{title}: {rows} changed</summary>\n\n{table}\n\n</details>"


def _compact(table: str) -> str:
    """Remove dvc's padding, which doubles the length, as GitHub limits comments."""
    return re.sub(r"-{3,}", "---", re.sub(r" +", " ", table.strip()))


def _dvc(repo: Path, *arguments: str) -> str:
    done = _run(repo, sys.executable, "-m", "dvc", *arguments)
    if done.returncode != 0:
        raise PipelineError(f"dvc {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _run(repo: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
