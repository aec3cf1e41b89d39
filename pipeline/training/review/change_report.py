"""Report on a change of parameters and metrics, as one Markdown comment for a pull request.

The tables come from dvc. The report needs only git and dvc, and no data, because metrics are in
Git.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from pipeline.runtime.errors import PipelineError

TEST_METRICS: Final = "metrics/test.json"
LOCK: Final = "dvc.lock"


def change_report(repo: Path, base: str) -> str:
    """Compare the working tree of `repo` with the Git revision `base`, in Markdown.

    Raises PipelineError with dvc's message if dvc fails, as for an unknown revision.
    """
    params = _compact(_dvc(repo, "params", "diff", base, "--md"))
    metrics = _compact(_dvc(repo, "metrics", "diff", base, "--md", "--precision", "3"))
    parts = [f"## Change against `{base}`", _headline(repo, base)]
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


def _headline(repo: Path, base: str) -> str:
    """Table of the test split's headline metrics: before, now with 95 % interval, and change."""
    now = json.loads((repo / TEST_METRICS).read_text(encoding="utf-8"))["headline"]
    old = _headline_at(repo, base)
    lines = ["| test split | before | now | 95 % interval | change |", "| --- " * 5 + "|"]
    for name in (name for name in now if f"{name}_low" in now):
        before, after = old.get(name), now[name]
        interval = f"{_text(now[f'{name}_low'])} to {_text(now[f'{name}_high'])}"
        both = before is not None and after is not None
        change = f"{after - before:+.3f}" if both else "-"
        lines.append(f"| {name} | {_text(before)} | {_text(after)} | {interval} | {change} |")
    return "\n".join(lines)


def _headline_at(repo: Path, base: str) -> dict[str, float | None]:
    """Headline metrics of a revision; empty if it has no test metrics."""
    shown = _run(repo, "git", "show", f"{base}:{TEST_METRICS}")
    return dict(json.loads(shown.stdout)["headline"]) if shown.returncode == 0 else {}


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
