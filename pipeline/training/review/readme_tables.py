"""Generated parts of the README files: tables from metrics/, the graph from dvc.yaml.

Each is between `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.runtime.errors import PipelineError

GENUINE_CELLS: Final = {
    "clean": "unchanged",
    "jpeg75": "JPEG 75",
    "jpeg50": "JPEG 50",
    "half_size": "half size",
    "blur_both": "blurred by 1 px",
    "blur_reals_only": "only the photographs blurred",
}
ABLATION_CELLS: Final = {
    "clean": "clean",
    "jpeg50": "JPEG 50",
    "both_blurred": "both blurred",
    "half_size": "half size",
    "reals_blurred": "only reals blurred",
}
ABLATION_PARTS: Final = {
    "base": "**as in the recipe** (network alone, fixed fusion)",
    "frequency_off": "no frequency branch",
    "frequency_highpass": "frequency branch: high-pass",
    "frequency_fft": "frequency branch: FFT",
    "frequency_dct": "frequency branch: DCT",
    "hull_mask": "hull mask instead of the square",
    "no_degradations": "no degradations, no softened reals",
    "random_weights": "MobileNetV2 from random weights",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "convnext_tiny_random": "ConvNeXt-Tiny from random weights",
    "view_1.1x": "view 1.1x",
    "view_1.5x": "view 1.5x",
    "view_2x": "view 2x",
    "views_all": "all four views",
    "fusion_learned": "learned fusion of the heads",
    "seam": "**trees on the seam alone**",
    "seam_hull_mask": "trees, hull mask",
    "seam_no_degradations": "trees, no degradations",
    "fusion_learned_with_seam": "**network and trees, learned fusion**",
}
PROFILED_FUNCTIONS: Final = 7


def generated_parts(repo: Path) -> dict[str, dict[str, str]]:
    """Path of each README with generated parts, and their Markdown by name.

    Raises PipelineError when dvc fails.
    """
    return {
        "README.md": {"genuine": genuine_table(_json(repo / "metrics/genuine.json"))},
        "stages/README.md": {"dag": dag(repo)},
        "metrics/README.md": {"ablation": ablation_table(_json(repo / "metrics/ablation.json"))},
        "tests/bench/README.md": {"profile": profile_table(_json(repo / "metrics/profile.json"))},
    }


def with_parts(text: str, parts: Mapping[str, str]) -> str:
    """A README's text with these parts between their marks.

    Raises PipelineError when the text does not have the two marks of a part exactly once.
    """
    for name, part in parts.items():
        text = _replaced(text, name, part)
    return text


def genuine_table(metrics: dict[str, Any]) -> str:
    """Results of the released detector on genuine swaps, one row per degradation."""
    rows = [["images", "AUC", "swaps flagged", "photographs flagged"], ["---"] * 4]
    for cell, title in GENUINE_CELLS.items():
        found = metrics["cell"][cell]
        rows.append([title, *(_frac(found[name]) for name in ("auc", "recall", "fpr"))])
    lfw = metrics["against_lfw"]
    title = "swaps against LFW photographs, a source not in training"
    rows.append([title, _frac(lfw["auc"]), "", _frac(lfw["called_fake"])])
    return _table(rows)


def ablation_table(metrics: dict[str, Any]) -> str:
    """Contribution of each part: mean AUC and range over the seeds, one column per degradation."""
    rows = [["part", *ABLATION_CELLS.values()], ["---"] * (1 + len(ABLATION_CELLS))]
    for part, title in ABLATION_PARTS.items():
        spreads = [metrics["variant"][part][cell] for cell in ABLATION_CELLS]
        rows.append([title, *map(_spread, spreads)])
    return _table(rows)


def profile_table(metrics: dict[str, Any]) -> str:
    """Processor seconds of stages before and after, and of their most expensive functions."""
    rows = [["stage", "function", "before, s", "after, s"], ["---"] * 4]
    for stage, runs in metrics["stages"].items():
        before, after = runs["before"], runs["after"]
        rows.append(
            [f"`{stage}`", "**all**", _number(sum(before.values())), _number(sum(after.values()))]
        )
        largest = sorted(
            before | after, key=lambda name: -max(before.get(name, 0), after.get(name, 0))
        )
        for name in largest[:PROFILED_FUNCTIONS]:
            seconds = [_number(run[name]) if name in run else "-" for run in (before, after)]
            rows.append(["", name, *seconds])
    return _table(rows)


def dag(repo: Path) -> str:
    """The graph of the stages as dvc draws it in Mermaid, the three of pack_zarr as one."""
    command = [sys.executable, "-m", "dvc", "dag", "--collapse-foreach-matrix", "--md"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PipelineError(f"dvc dag: {done.stderr.strip()}")
    return done.stdout.strip().replace("\t", "  ")


def _replaced(text: str, name: str, part: str) -> str:
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    pattern = f"(?<={re.escape(begin)}).*?(?={re.escape(end)})"
    replaced, count = re.subn(pattern, lambda _: f"{part}\n", text, flags=re.DOTALL)
    if count != 1:
        raise PipelineError(f"README: expected one {begin.strip()} with its end, found {count}")
    return replaced


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _spread(found: dict[str, float]) -> str:
    return f"{_frac(found['mean'])} ({_frac(found['least'])}-{_frac(found['greatest'])})"


def _number(value: float) -> str:
    """Three digits, without an exponent: 0.0123, 12.3, 12,345."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _frac(value: float) -> str:
    """Three digits without the leading zero: .995."""
    return f"{value:.3f}".removeprefix("0")
