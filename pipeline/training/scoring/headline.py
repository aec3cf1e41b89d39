"""The most important numbers of a scored split, the same on validation and on the test split.

Every table has one row per face: the manifest's columns, `score`, `verdict` and `called`
(`pipeline.training.scoring.scorer.decided`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pipeline.core.labels import FAKE, REAL
from pipeline.training.scoring.metrics import Statistic, area_under_roc, within_source_auc

VIDEO_KEY = ["source", "video_id"]
# With fewer people of a class than this, one person more or less moves every number.
FEWEST_PEOPLE = 10


@dataclass(frozen=True, eq=False)
class Measure:
    """A number of a table: its statistic, and the columns that it is computed from."""

    statistic: Statistic
    table: pd.DataFrame
    columns: tuple[str, ...]

    def value(self) -> float:
        """Raises ValueError with the reason where the number is undefined."""
        return self.statistic(*(self.table[name].to_numpy() for name in self.columns))


def headline_measures(faces: pd.DataFrame, fake_from: float) -> dict[str, Measure]:
    """The headline's numbers by name. fake_from: lowest mean score of a video flagged fake."""
    clips = videos(faces, fake_from)
    # Numbers are compared faster than names, a thousand times.
    numbered = faces.assign(source=pd.factorize(faces["source"])[0])
    return {
        "auc": auc(faces),
        "within_source_auc": Measure(within_source_auc, numbered, ("label", "score", "source")),
        "video_auc": auc(clips),
        "recall": flagged(faces[faces["label"] == FAKE]),
        "inswapper_recall": flagged(faces[faces["is_inswapper"] == 1]),
        "uniface_recall": flagged(faces[faces["fake_type"] == "uniface"]),
        "video_recall": flagged(clips[clips["label"] == FAKE]),
        "fpr": flagged(faces[faces["label"] == REAL]),
        "video_fpr": flagged(clips[clips["label"] == REAL]),
    }


def auc(table: pd.DataFrame) -> Measure:
    return Measure(area_under_roc, table, ("label", "score"))


def flagged(table: pd.DataFrame) -> Measure:
    """Fraction flagged fake: the recall of fakes, the false positive rate of reals."""
    return Measure(_mean, table, ("called",))


def _mean(called: ArrayLike) -> float:
    values = np.asarray(called, np.float64)
    if not len(values):
        raise ValueError("no such faces in this split")
    return float(values.mean())


def frames(faces: pd.DataFrame) -> pd.DataFrame:
    """One row per frame, that of its highest-scoring face."""
    key = [*VIDEO_KEY, "frame_index"]
    return faces.sort_values("score").drop_duplicates(key, keep="last").sort_index()


def videos(faces: pd.DataFrame, fake_from: float) -> pd.DataFrame:
    """One row per video with the mean of its frames' scores; an image is a video of one frame.

    The key is (source, video_id), because folder names alone collide. called: 1 where the mean of
    the frames that are not undecided reaches `fake_from`, as in the service; else 0.
    """
    by_frame = frames(faces)
    means = by_frame.groupby(VIDEO_KEY)["score"].mean()
    decided = by_frame[by_frame["verdict"] != "undecided"].groupby(VIDEO_KEY)["score"].mean()
    called = (decided >= fake_from).astype(float).reindex(means.index, fill_value=0.0)
    first = by_frame.drop_duplicates(VIDEO_KEY).set_index(VIDEO_KEY)
    table = first.assign(score=means, called=called).reset_index()
    return table.sort_values(VIDEO_KEY, ignore_index=True)


def counts_line(counts: Mapping[str, int]) -> str:
    """`class_counts` for a terminal."""
    return (
        f"{counts['n_real']} real faces of {counts['groups_real']} people, {counts['n_fake']} fake"
        f" faces of {counts['groups_fake']} (independent groups)"
    )


def few_people(splits: Mapping[str, Mapping[str, int]]) -> list[str]:
    """At most one line: the splits with fewer than FEWEST_PEOPLE people with fakes or with reals.

    splits: `class_counts` by name of the split.
    """
    short = []
    for name, counts in splits.items():
        few = {
            kind: count
            for kind in ("fake", "real")
            if (count := counts[f"groups_{kind}"]) < FEWEST_PEOPLE
        }
        if few:
            parts = [f"{count} {_people(count)} with {kind}s" for kind, count in few.items()]
            short.append(f"{' and '.join(parts)} in the {name} split")
    if not short:
        return []
    return [
        f"only {', '.join(short)}: numbers are rough; at least {FEWEST_PEOPLE} of each are needed "
        "(linked people count as one)"
    ]


def _people(count: int) -> str:
    return "person" if count == 1 else "people"
