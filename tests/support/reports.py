"""A whole test report with round numbers."""

from typing import Any

from pipeline.training.evaluation.schema import Headline, TestReport

COUNTS = {"n_real": 4, "n_fake": 4, "groups_real": 3, "groups_fake": 2}
METRICS = {**COUNTS, "auc": 0.5, "recall": 0.25, "fpr": 0.0}
HEADLINE = {name: 0.5 for name in Headline.model_fields if name != "reason"} | COUNTS
COPY = {
    **COUNTS,
    **{"auc": 0.5, "brier": 0.25, "ece": 0.125, "recall": 0.25},
    **{"fpr": 0.0, "coverage_real": 1.0, "coverage_fake": 1.0, "both_possible": 0.5},
}
SOURCE = {**COUNTS, "in_training": 1, "auc": 0.5, "recall": None, "fpr": 0.0}
SLICE = COUNTS | {
    f"{name}{end}": 0.5 for name in ("auc", "recall", "fpr") for end in ("", "_low", "_high")
}
RATES = dict.fromkeys(("value", "accuracy", "precision", "recall", "f1", "fpr", "fnr"), 0.5)
FRACS = {"real": 0.5, "suspicious": 0.0, "fake": 0.5, "undecided": 0.0}
LEVELS = {
    level: {"auc": auc, "recall": None, "fpr": None, "undecided": 0.0}
    for level, auc in (("0.5", 0.75), ("4", None))
}
RECALL = {"recall": 0.5, "recall_low": 0.0, "recall_high": 1.0}
INTERVAL = {"fpr": 0.0, "fpr_low": 0.0, "fpr_high": 0.5}


def report_of(**changes: Any) -> TestReport:
    """changes: whole sections."""
    report = {
        "note": "drawn",
        "test_set": "0123456789ab",
        "warnings": ["only 2 people with fakes in the test split"],
        "headline": {**HEADLINE, "video_auc": None, "reason": "too few videos"},
        "frame": METRICS,
        "video": METRICS,
        "report": {
            "clean_real": {"n_real": 4, "groups_real": 3, **INTERVAL},
            "compressed_real": {"n_real": 4, "groups_real": 3, **INTERVAL},
            "inswapper": {"n_fake": 4, "groups_fake": 2, **RECALL},
            "low_quality": METRICS,
            "unseen_identity": {**METRICS, "seen_in_training_frac": 0.0},
            "unseen_source": {"auc": None, "reason": "none"},
        },
        "generator": {"inswapper": METRICS, "uniface": METRICS, "pseudo": METRICS},
        "view": {"aligned": METRICS},
        "source": {"videos": {**SOURCE, "undecided": 0.0}},
        "surroundings": {"open": METRICS, "tight": METRICS},
        "face_size": {"<96 px": SLICE},
        "skin_tone": {"tan": SLICE},
        "tag": {"light: dark": SLICE},
        "copies": {"promised": 0.9, "all": COPY},
        "threshold": {"low_fpr": RATES},
        "verdict": {"real": FRACS, "fake": FRACS},
        "fusion": {"active": "fixed", "fixed": METRICS, "learned": METRICS},
        "probe": {"auc": None, "reason": "the test split lacks a class"},
        "ladder": {
            "faces_per_class": 4,
            **dict.fromkeys(("jpeg_quality", "x264_crf", "face_px", "blur_px"), LEVELS),
        },
        "coverage": {
            **{"faces": 8, "videos": 4, "groups": 2, "left_out": 0, "coverage": 1.0},
            **{"left_out_elsewhere": 0, "reasons": {}},
        },
    }
    return TestReport.model_validate(report | changes)
