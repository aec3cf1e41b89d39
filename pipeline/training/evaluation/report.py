"""data/reports: the test report as one self-contained page, and its worst mistakes."""

from pathlib import Path
from typing import Any

import jinja2

from pipeline.core.audit import AuditReport
from pipeline.core.files import replacing
from pipeline.training.calibration.fit import Calibration
from pipeline.training.evaluation.evaluate import SAMPLE_ROOT, Evaluation
from pipeline.training.evaluation.figures import curve_figure, ladder_figure, png_uri, score_figure
from pipeline.training.evaluation.probes import MeasuredSplit
from pipeline.training.evaluation.worst_mistakes import Mistake, worst_mistakes, write_mistakes

TEMPLATE = Path(__file__).with_name("report.html.j2")
PAGE = "test.html"
MISTAKES = "mistakes"


def write_reports(
    folder: Path,
    evaluation: Evaluation,
    split: MeasuredSplit,
    calibration: Calibration,
    data_root: str,
    audit: AuditReport,
) -> None:
    """Write test.html and its worst mistakes as mistakes/*.png."""
    mistakes = worst_mistakes(evaluation, split)
    write_mistakes(folder / MISTAKES, mistakes)
    html = render_report(evaluation, mistakes, calibration, data_root, audit)
    with replacing(folder / PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render_report(
    evaluation: Evaluation,
    mistakes: list[Mistake],
    calibration: Calibration,
    data_root: str,
    audit: AuditReport,
) -> str:
    """The page as text; the same bytes for the same evaluation."""
    thresholds = calibration.decision.thresholds
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"num": _number, "png": png_uri}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=evaluation.report,
        decision=calibration.decision,
        is_sample=data_root == SAMPLE_ROOT,
        scores=score_figure(evaluation.faces, thresholds.fake_from, thresholds.suspicious_from),
        curves=curve_figure(evaluation.faces),
        ladders=ladder_figure(evaluation.report.ladder),
        mistakes=mistakes,
        audit=audit.sentences(),
    )


def _number(value: Any, digits: int = 3) -> str:
    """A number with `digits` decimals, whole numbers as such, None as "n/a"."""
    if value is None:
        return "n/a"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
