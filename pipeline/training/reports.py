"""data/reports/test.html: the test report as one page that needs nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from pipeline.labels import FAKE, REAL
from pipeline.training.calibration import Calibration
from pipeline.training.evaluation import SAMPLE_ROOT, Evaluation
from pipeline.training.figures import (
    crop_picture,
    curve_figure,
    ladder_figure,
    score_figure,
    seam_picture,
)
from pipeline.training.probes import Judge
from pipeline.training.scoring import picture_of
from pipeline.training.slices import VIDEO_KEY
from pipeline.views import cut_view, seam_view

TEMPLATE = Path(__file__).with_name("report.html.j2")
WORST = 6


@dataclass(frozen=True)
class Mistake:
    """A face on the wrong side of the limits; pictures are data URIs."""

    name: str
    truth: str
    verdict: str
    score: float
    crop: str
    seam: str


def write_report(
    path: Path, evaluation: Evaluation, judge: Judge, calibration: Calibration, data_root: str
) -> None:
    """Write the page beside `path`, then rename."""
    html = render_report(evaluation, judge, calibration, data_root)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)


def render_report(
    evaluation: Evaluation, judge: Judge, calibration: Calibration, data_root: str
) -> str:
    """The page as text; the same bytes for the same evaluation."""
    thresholds = calibration.decision.thresholds
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["num"] = _number
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=evaluation.report,
        decision=calibration.decision,
        is_sample=data_root == SAMPLE_ROOT,
        scores=score_figure(evaluation.faces, thresholds.fake_from, thresholds.suspicious_from),
        curves=curve_figure(evaluation.faces),
        ladders=ladder_figure(evaluation.report["ladder"]),
        mistakes=worst_mistakes(evaluation, judge),
    )


def worst_mistakes(evaluation: Evaluation, judge: Judge, count: int = WORST) -> list[Mistake]:
    """At most `count` reals with the highest and `count` fakes with the lowest scores.

    Only where the verdict is wrong, and one face a video: its frames look alike.
    """
    faces = evaluation.faces
    alarms = faces[(faces["label"] == REAL) & faces["verdict"].isin(["fake", "suspicious"])]
    misses = faces[(faces["label"] == FAKE) & (faces["verdict"] == "real")]
    worst = pd.concat(
        [
            _one_a_video(alarms.sort_values(["score", "face_id"], ascending=[False, True]), count),
            _one_a_video(misses.sort_values(["score", "face_id"]), count),
        ]
    )
    return [_mistake(evaluation, judge, int(face)) for face in worst.index]


def _one_a_video(faces: pd.DataFrame, count: int) -> pd.DataFrame:
    return faces.drop_duplicates(VIDEO_KEY).head(count)


def _mistake(evaluation: Evaluation, judge: Judge, face: int) -> Mistake:
    preprocess = judge.scorer.preprocess
    view = seam_view(preprocess)
    row = evaluation.faces.iloc[face].to_dict()
    picture = picture_of(judge.store, face)
    rgb = cut_view(preprocess, view, picture.rgb, picture.box_xyxy, picture.keypoints)
    return Mistake(
        name=str(row["face_id"]),
        truth=str(row["fake_type"]),
        verdict=str(row["verdict"]),
        score=float(row["score"]),
        crop=crop_picture(rgb),
        seam=seam_picture(rgb, evaluation.logits["seam_map"][face, view]),
    )


def _number(value: Any, digits: int = 3) -> str:
    """A number with `digits` decimals, whole numbers as such, None as "n/a"."""
    if value is None:
        return "n/a"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
