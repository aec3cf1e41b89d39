"""Figures of the test report as self-contained SVG and PNG, the same bytes each time."""

import base64
import io
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.core.arrays import ImageU8
from pipeline.decision.fusion import sigmoid
from pipeline.media.images import encode_png
from pipeline.training.evaluation.schema import Ladders
from pipeline.training.scoring.plots import precision_recall_points, reliability_points, roc_points

REAL_COLOUR, FAKE_COLOUR, LINE_COLOUR = "#2b6cb0", "#c05621", "#2d3748"
THUMBNAIL_PX = 160
_DET_TICKS = (0.005, 0.02, 0.1, 0.3, 0.6)
_DET_RANGE = (0.002, 0.8)
# Text as text, ids from a fixed salt, no date: equal figures are equal files.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "test report",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}
_LADDER_TITLES = {
    "jpeg_quality": "JPEG quality",
    "x264_crf": "H.264 rate factor",
    "face_px": "face side (px)",
    "blur_px": "blur (px)",
}


def score_figure(faces: pd.DataFrame, fake_from: float, suspicious_from: float) -> str:
    """Histograms of the scores of real and fake faces, with the two limits."""
    with mpl.rc_context(_STYLE):
        figure, (axes,) = _figure(1, width=4.2)
        bins = np.linspace(0, 1, 26).tolist()
        for label, name, colour in ((0, "real", REAL_COLOUR), (1, "fake", FAKE_COLOUR)):
            scores = faces.loc[faces["label"] == label, "score"]
            axes.hist(scores, bins=bins, alpha=0.6, label=name, color=colour)
        axes.axvline(fake_from, color=LINE_COLOUR, label='"fake" from here')
        axes.axvline(suspicious_from, color=LINE_COLOUR, ls="--", label='"suspicious" from here')
        _label(axes, "score", "faces")
        axes.legend(fontsize=8)
        return _svg(figure)


def curve_figure(faces: pd.DataFrame) -> str:
    """ROC, DET, precision-recall and reliability, side by side."""
    with mpl.rc_context(_STYLE):
        figure, (roc, det, precision, calibration) = _figure(4, width=12.5)
        points = roc_points(faces)
        roc.plot(points["fpr"], points["tpr"], color=LINE_COLOUR)
        _label(roc, "false positive rate", "recall")
        _draw_det(det, points)
        points = precision_recall_points(faces)
        precision.plot(points["recall"], points["precision"], color=LINE_COLOUR)
        _label(precision, "recall", "precision")
        points = reliability_points(faces)
        calibration.plot([0, 1], [0, 1], color="grey", ls=":")
        sizes = 20 + 180 * points["count"] / max(1, int(points["count"].max()))
        calibration.scatter(points["score"], points["fake_frac"], s=sizes, color=FAKE_COLOUR)
        _label(calibration, "mean score", "fraction of fakes")
        for axes in (roc, precision, calibration):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return _svg(figure)


def _draw_det(axes: Axes, roc: pd.DataFrame) -> None:
    """Detection error trade-off: both error rates on normal-deviate axes (Martin et al. 1997)."""
    rates = np.clip([roc["fpr"], 1 - roc["tpr"]], *_DET_RANGE)
    axes.plot(*norm.ppf(rates), color=LINE_COLOUR)
    places, names = norm.ppf(_DET_TICKS), [f"{100 * tick:g} %" for tick in _DET_TICKS]
    ends = norm.ppf(_DET_RANGE)
    axes.set(xticks=places, yticks=places, xticklabels=names, yticklabels=names)
    axes.set(xlim=ends, ylim=ends)
    axes.plot(ends, ends, color="grey", ls=":")  # equal errors
    _label(axes, "false positive rate", "missed fakes")


def ladder_figure(ladders: Ladders) -> str:
    """AUC, recall, FPR and fraction of undecided along every ladder, mild on the left."""
    named = ladders.by_name
    with mpl.rc_context(_STYLE):
        figure, all_axes = _figure(len(named), width=11.5)
        for axes, (name, levels) in zip(all_axes, named.items(), strict=True):
            for key, colour in (
                ("auc", LINE_COLOUR),
                ("recall", FAKE_COLOUR),
                ("fpr", REAL_COLOUR),
                ("undecided", "#a0aec0"),
            ):
                found = (getattr(level, key) for level in levels.values())
                values = [np.nan if value is None else value for value in found]
                axes.plot(list(levels), values, marker="o", ms=3, color=colour, label=key)
            axes.set(ylim=(-0.02, 1.02))
            _label(axes, _LADDER_TITLES[name], "")
        all_axes[0].legend(fontsize=8)
        return _svg(figure)


def thumbnail(rgb: ImageU8) -> ImageU8:
    """Resize a crop (size, size, 3) for the page: (160, 160, 3)."""
    resized = cv2.resize(rgb, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def seam_overlay(rgb: ImageU8, seam_logits: NDArray[np.float32]) -> ImageU8:
    """The crop in grey with its seam map (32, 32) over it; red where a seam is predicted."""
    small = thumbnail(rgb)
    grey = np.repeat(small.mean(axis=2, keepdims=True), 3, axis=2) * 0.7
    heat = cv2.resize(sigmoid(seam_logits), (THUMBNAIL_PX, THUMBNAIL_PX))[..., None]
    mixed = (1 - heat) * grey + heat * np.array([230, 60, 30])
    return np.asarray(mixed.round(), dtype=np.uint8)


def png_uri(rgb: ImageU8) -> str:
    """(H, W, 3) uint8 RGB as a data URI."""
    return _data_uri("image/png", encode_png(rgb))


def _figure(columns: int, width: float) -> tuple[Figure, list[Axes]]:
    # Without pyplot a figure has no global state and needs no display.
    figure = Figure(figsize=(width, 2.9), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _data_uri("image/svg+xml", buffer.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
