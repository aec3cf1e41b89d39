"""The worst mistakes on the test split, as images."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.core.arrays import ImageU8
from pipeline.core.labels import FAKE, REAL
from pipeline.media.images import write_png
from pipeline.training.evaluation.evaluate import Evaluation
from pipeline.training.evaluation.figures import THUMBNAIL_PX, seam_overlay, thumbnail
from pipeline.training.evaluation.probes import MeasuredSplit
from pipeline.training.scoring.headline import VIDEO_KEY
from pipeline.training.scoring.scorer import stored_evidence
from pipeline.training.store.reader import image_of
from pipeline.views.cut import cut_view, seam_view

WORST = 6
NONE = ("none: no real face was flagged fake or suspicious,", "no fake passed as real")
LINE_PX = 18
LETTERS = 46
TEXT_SCALE = 0.4


@dataclass(frozen=True, eq=False)
class Mistake:
    """A face with a wrong verdict. crop, seam: (160, 160, 3) uint8."""

    name: str
    truth: str
    verdict: str
    score: float
    crop: ImageU8
    seam: ImageU8


def worst_mistakes(
    evaluation: Evaluation, split: MeasuredSplit, count: int = WORST
) -> list[Mistake]:
    """At most `count` reals with the highest and `count` fakes with the lowest scores.

    Only faces with a wrong verdict, and one per video, because its frames look the same.
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
    return [_mistake(evaluation, split, int(face)) for face in worst.index]


def write_mistakes(folder: Path, mistakes: list[Mistake]) -> None:
    """Replace a folder by false_alarm_1.png and so on, missed_fake_1.png and so on, worst first.

    Without mistakes one image says so, because DVC does not keep empty folders.
    """
    shutil.rmtree(folder, ignore_errors=True)
    numbers: Counter[str] = Counter()
    for mistake in mistakes:
        kind = "false_alarm" if mistake.truth == "real" else "missed_fake"
        numbers[kind] += 1
        write_png(folder / f"{kind}_{numbers[kind]}.png", _titled(mistake))
    if not mistakes:
        write_png(folder / "none.png", _caption(*NONE, width_px=2 * THUMBNAIL_PX))


def _one_a_video(faces: pd.DataFrame, count: int) -> pd.DataFrame:
    return faces.drop_duplicates(VIDEO_KEY).head(count)


def _mistake(evaluation: Evaluation, split: MeasuredSplit, face: int) -> Mistake:
    preprocess = split.scorer.preprocess
    view = seam_view(preprocess)
    row = evaluation.faces.iloc[face].to_dict()
    image = image_of(split.store, face)
    rgb = cut_view(preprocess, view, image.rgb, image.box_xyxy, image.keypoints)
    seam_maps = stored_evidence(split.scorer, split.store, [face], visuals=True).seam_map
    assert seam_maps is not None
    return Mistake(
        name=str(row["face_id"]),
        truth=str(row["fake_type"]),
        verdict=str(row["verdict"]),
        score=float(row["score"]),
        crop=thumbnail(rgb),
        seam=seam_overlay(rgb, seam_maps[0, view]),
    )


def _titled(mistake: Mistake) -> ImageU8:
    """Crop and seam map side by side, above the verdict and the end of the face's name."""
    images = np.hstack([mistake.crop, mistake.seam])
    happened = f"{mistake.truth}, verdict {mistake.verdict}, score {mistake.score:.3f}"
    text = _caption(happened, mistake.name[-LETTERS:], width_px=images.shape[1])
    return np.vstack([images, text])


def _caption(*lines: str, width_px: int) -> ImageU8:
    """Dark text on white, (LINE_PX per line, width_px, 3); OpenCV draws ASCII only."""
    white = np.full((LINE_PX * len(lines) + 4, width_px, 3), 255, np.uint8)
    for number, line in enumerate(lines, start=1):
        cv2.putText(
            white,
            line.encode("ascii", "replace").decode("ascii"),
            (2, LINE_PX * number - 4),
            cv2.FONT_HERSHEY_SIMPLEX,
            TEXT_SCALE,
            (26, 32, 44),
            lineType=cv2.LINE_AA,
        )
    return white
