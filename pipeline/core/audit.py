"""metrics/audit.json: counts of the leak audit, which the test report and the model card repeat.

The file exists only if the audit found nothing but what audit.allow names.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from pipeline.runtime.errors import ManifestError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import StrictModel

Number = Annotated[int, Field(ge=0)]


class Overlaps(StrictModel):
    """Numbers of names, and of pairs of near-duplicate faces, that occur in two splits."""

    identity: Number
    source_identity: Number
    video: Number
    group: Number
    near_duplicate: Number


class PerSplit(StrictModel):
    train: Number
    val: Number
    test: Number


class SourcePhotos(PerSplit):
    """Distinct source photos in each split, in all of them, and in at least two."""

    total: Number
    in_two_splits: Number


class AuditReport(StrictModel):
    """Content of metrics/audit.json.

    across: overlaps that audit.allow does not name. allowed: those that it names. exceptions: its
    entries in use. near_bits: audit.near_bits. near_duplicates_within: pairs of near-duplicate
    faces of different people inside one split.
    """

    across: Overlaps
    allowed: Overlaps
    exceptions: list[str]
    near_bits: Number
    near_duplicates_within: PerSplit
    source_photos: SourcePhotos

    def sentences(self) -> list[str]:
        """The result for a reader, as sentences."""
        across, within, photos = self.across, self.near_duplicates_within, self.source_photos
        shared = f"{photos.in_two_splits} of {photos.total}" if photos.total else "not recorded"
        exceptions = "none"
        if self.exceptions:
            covered = sum(self.allowed.model_dump().values())
            exceptions = f"{', '.join(self.exceptions)} (overlaps covered: {covered})"
        return [
            f"In two splits: {across.identity} people, {across.source_identity} source people,"
            f" {across.video} videos, {across.group} groups, {across.near_duplicate} pairs of"
            f" near-duplicate faces (at most {self.near_bits} of 64 hash bits differ).",
            f"Source photos in two splits: {shared}.",
            "Near-duplicate faces of different people inside one split, pairs:"
            f" {within.train} in train, {within.val} in val, {within.test} in test.",
            f"Exceptions allowed by audit.allow: {exceptions}.",
        ]


def read_audit(path: Path) -> AuditReport:
    """Read metrics/audit.json. Raises ManifestError when it is missing or malformed."""
    try:
        return AuditReport.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ManifestError(f"{path}: not found; run audit_splits") from None
    except ValidationError as error:
        raise ManifestError("\n".join(validation_lines(path, error))) from None
