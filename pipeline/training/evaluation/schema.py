"""metrics/test_report.json: the names that the report, the plots, the model card and tests share.

A number that the test split does not define is null, and `reason` says why.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.runtime.errors import ManifestError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import StrictModel

Number = float | None


class ReportPart(StrictModel):
    """A part of the report."""

    reason: str | None = None


class Counted(ReportPart):
    """A part with its numbers of faces, and of independent groups of people, per class."""

    n_real: int
    n_fake: int
    groups_real: int
    groups_fake: int


class Metrics(ReportPart):
    """Metrics of one set of faces, frames or videos; a slice may leave some of them out."""

    n_real: int | None = None
    n_fake: int | None = None
    groups_real: int | None = None
    groups_fake: int | None = None
    auc: Number = None
    ap: Number = None
    eer: Number = None
    accuracy: Number = None
    precision: Number = None
    recall: Number = None
    f1: Number = None
    fpr: Number = None
    fnr: Number = None
    recall_at_fpr_1pct: Number = None
    recall_at_fpr_0_1pct: Number = None
    brier: Number = None
    ece: Number = None
    undecided: Number = None


class Headline(Counted):
    """The most important numbers, each with its 95 % bootstrap interval over groups."""

    auc: Number
    auc_low: Number
    auc_high: Number
    within_source_auc: Number
    within_source_auc_low: Number
    within_source_auc_high: Number
    video_auc: Number
    video_auc_low: Number
    video_auc_high: Number
    recall: Number
    recall_low: Number
    recall_high: Number
    inswapper_recall: Number
    inswapper_recall_low: Number
    inswapper_recall_high: Number
    uniface_recall: Number
    uniface_recall_low: Number
    uniface_recall_high: Number
    video_recall: Number
    video_recall_low: Number
    video_recall_high: Number
    fpr: Number
    fpr_low: Number
    fpr_high: Number
    video_fpr: Number
    video_fpr_low: Number
    video_fpr_high: Number
    compressed_fpr: Number
    compressed_fpr_low: Number
    compressed_fpr_high: Number

    @property
    def names(self) -> list[str]:
        """The numbers that have an interval."""
        fields = Headline.model_fields
        return [name for name in fields if f"{name}_low" in fields]

    @property
    def values(self) -> dict[str, Number]:
        """Each number without its interval."""
        return {name: getattr(self, name) for name in self.names}


class RealReport(ReportPart):
    n_real: int
    groups_real: int
    fpr: Number
    fpr_low: Number
    fpr_high: Number
    clean_fpr: Number = None
    at_most_twice_clean: int | None = None
    times_clean: Number = None


class SwapReport(ReportPart):
    n_fake: int
    groups_fake: int
    recall: Number
    recall_low: Number
    recall_high: Number


class UnseenIdentity(Metrics):
    seen_in_training_frac: float


class SixReports(StrictModel):
    """The six reports of the user's recipe."""

    clean_real: RealReport
    compressed_real: RealReport
    inswapper: SwapReport
    low_quality: Metrics
    unseen_identity: UnseenIdentity
    unseen_source: Metrics


class Generators(StrictModel):
    inswapper: Metrics
    uniface: Metrics
    pseudo: Metrics


class Slice(Counted):
    """One kind of faces: by face size, skin tone or tag."""

    auc: Number
    auc_low: Number
    auc_high: Number
    recall: Number
    recall_low: Number
    recall_high: Number
    fpr: Number
    fpr_low: Number
    fpr_high: Number


class SourceReport(Counted):
    in_training: int
    auc: Number
    fpr: Number
    recall: Number
    undecided: Number


class BySurroundings(StrictModel):
    """open: faces with surroundings. tight: faces without."""

    open: Metrics
    tight: Metrics


class CopyReport(Counted):
    """One kind of degraded copies of all test faces; coverage is that of the conformal sets."""

    auc: Number
    brier: Number
    ece: Number
    coverage_real: Number
    coverage_fake: Number
    fpr: Number
    recall: Number
    both_possible: float


class Rates(ReportPart):
    """Rates at one threshold."""

    value: float
    accuracy: Number
    precision: Number
    recall: Number
    f1: Number
    fpr: Number
    fnr: Number


class VerdictFracs(ReportPart):
    real: Number
    suspicious: Number
    fake: Number
    undecided: Number


class Verdicts(StrictModel):
    """Fractions of the verdicts among real and among fake faces."""

    real: VerdictFracs
    fake: VerdictFracs


class Fusions(StrictModel):
    active: str
    fixed: Metrics
    learned: Metrics


class Probe(StrictModel):
    """AUC of a probe, one limit, and 1 or 0 for passed."""

    auc: float
    passed: int
    at_most: float | None = None
    at_least: float | None = None
    within: float | None = None

    @property
    def limit(self) -> str:
        """The limit as text."""
        if self.within is not None:
            return f"0.50 ± {self.within:.2f}"
        if self.at_most is not None:
            return f"at most {self.at_most:.2f}"
        return f"at least {self.at_least:.2f}"


class Probes(ReportPart):
    """No probe is defined if the test split lacks a class."""

    auc: None = None
    background_only: Probe | None = None
    metadata_only: Probe | None = None
    only_reals_blurred: Probe | None = None
    permuted_labels: Probe | None = None

    @property
    def defined(self) -> dict[str, Probe]:
        return {name: value for name, value in self if isinstance(value, Probe)}


class LadderLevel(StrictModel):
    auc: Number
    recall: Number
    fpr: Number
    undecided: float


class Ladders(StrictModel):
    """Levels of each ladder as text, from mild to harsh while they are in memory."""

    faces_per_class: int
    jpeg_quality: dict[str, LadderLevel]
    x264_crf: dict[str, LadderLevel]
    face_px: dict[str, LadderLevel]
    blur_px: dict[str, LadderLevel]

    @property
    def by_name(self) -> dict[str, dict[str, LadderLevel]]:
        return {name: levels for name, levels in self if isinstance(levels, dict)}

    @property
    def aucs(self) -> dict[str, list[Number]]:
        return {n: [level.auc for level in levels.values()] for n, levels in self.by_name.items()}


class Coverage(StrictModel):
    faces: int
    videos: int
    groups: int
    left_out: int
    coverage: float
    left_out_elsewhere: int
    reasons: dict[str, int]


class TestReport(StrictModel):
    """metrics/test_report.json. test_set: digest of the test faces (`reader.set_digest`).

    warnings: lines that say why the numbers may mislead. copies: "promised" is the conformal
    confidence, the others CopyReports. face_size, skin_tone, tag: slices by name.
    """

    # Not a test, although pytest collects classes of such names.
    __test__ = False

    note: str
    test_set: str
    warnings: list[str]
    headline: Headline
    frame: Metrics
    video: Metrics
    report: SixReports
    generator: Generators
    view: dict[str, Metrics]
    source: dict[str, SourceReport]
    surroundings: BySurroundings
    face_size: dict[str, Slice]
    skin_tone: dict[str, Slice]
    tag: dict[str, Slice]
    copies: dict[str, float | CopyReport]
    threshold: dict[str, Rates]
    verdict: Verdicts
    fusion: Fusions
    probe: Probes
    ladder: Ladders
    coverage: Coverage

    @property
    def copy_reports(self) -> dict[str, CopyReport]:
        return {name: part for name, part in self.copies.items() if isinstance(part, CopyReport)}

    @property
    def summary(self) -> dict[str, Number | str]:
        """metrics/test.json: the headline without intervals, and what it was measured on."""
        counts = {name: getattr(self.headline, name) for name in Counted.model_fields}
        del counts["reason"]
        return {**self.headline.values, **counts, "test_set": self.test_set}

    def to_json(self) -> dict[str, Any]:
        """Plain values; members that were left out stay out."""
        return self.model_dump(exclude_unset=True)


def read_report(path: Path) -> TestReport:
    """Read metrics/test_report.json. Raises ManifestError naming the file and every wrong key."""
    try:
        return TestReport.model_validate_json(path.read_bytes())
    except OSError:
        raise ManifestError(f"{path}: not found; `dvc repro evaluate` writes it") from None
    except ValidationError as error:
        raise ManifestError("\n".join(validation_lines(path, error))) from None
