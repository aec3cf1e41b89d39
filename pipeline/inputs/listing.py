"""Listing the data root in two manifests: one row per video, one row per still image.

    <root>/inswapper/original_videos/**/*.mp4   real videos
    <root>/inswapper/inswapper/**/*.mp4         INSwapper fakes; masks/<name>.mkv if known
    <root>/inswapper/uniface/**/*.mp4           UniFace fakes; masks/<name>.mkv if known
    <root>/inswapper/videos.csv                 optional: overrules folders and names (VideoEntry)
    <root>/inswapper/identities.csv             optional: people (IdentityEntry)
    <root>/images.csv                           path,label,source and optional columns (ImageEntry)

Videos in any other folder are ignored deliberately, unless videos.csv names them.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.labels import FAKE
from pipeline.core.manifest import InputRow, TagRow
from pipeline.inputs.drafts import Draft, Findings, listed
from pipeline.inputs.images import list_images
from pipeline.inputs.people import settle_people
from pipeline.inputs.videos import ORIGINALS, VIDEOS, list_videos
from pipeline.runtime.errors import ManifestError


@dataclass(frozen=True)
class Inputs:
    """Rows in a stable order, non-fatal warnings, and notes on the names that were recognised."""

    videos: list[InputRow]
    images: list[InputRow]
    tags: list[TagRow]
    warnings: list[str]
    notes: list[str]


def list_inputs(root: Path) -> Inputs:
    """Read the data root; videos by folder and name, images in the order of images.csv.

    Raises ManifestError with all faults, one per line: unknown columns, labels that contradict
    fake_type, missing or repeated files, conflicting names; also when there is no input at all.
    """
    findings = Findings()
    videos = list_videos(root, findings)
    images = list_images(root, videos, findings)
    settle_people(root / VIDEOS / "identities.csv", [*videos, *images], findings)
    if not videos and not images and not findings.faults:
        findings.faults.append(_how_to_start(root))
    _raise_faults(findings)
    rows = [_finished(draft) for draft in [*videos, *images]]
    _check_contents([*videos, *images], rows, findings)
    _raise_faults(findings)
    _warn_of_lone_fakes(rows, findings)
    _warn_of_no_inswapper(rows, findings)
    return Inputs(
        rows[: len(videos)],
        rows[len(videos) :],
        [
            TagRow(video_id=draft.values["video_id"], tag=tag, value=value)
            for draft in [*videos, *images]
            for tag, value in sorted(draft.tags.items())
        ],
        findings.warnings,
        findings.notes,
    )


def _raise_faults(findings: Findings) -> None:
    if findings.faults:
        raise ManifestError("\n".join(findings.faults))


def _how_to_start(root: Path) -> str:
    return (
        f"{root}: contains no input. Put real videos into {root}/inswapper/{ORIGINALS}, INSwapper"
        f" fakes of them into {root}/inswapper/inswapper, UniFace fakes into"
        f" {root}/inswapper/uniface, or list images in {root}/images.csv"
    )


def _finished(draft: Draft) -> InputRow:
    with Path(draft.values["path"]).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return InputRow(**draft.values, sha256=digest)


def _check_contents(drafts: Sequence[Draft], rows: Sequence[InputRow], findings: Findings) -> None:
    """Report files with the same content: a fault with two labels, a warning with two identities.

    With two identities, copies of one image may reach two splits.
    """
    first: dict[str, tuple[str, InputRow]] = {}
    for draft, row in zip(drafts, rows, strict=True):
        where, earlier = first.setdefault(row.sha256, (draft.where, row))
        if earlier is row:
            continue
        if earlier.label != row.label:
            findings.faults.append(
                f"{draft.where}: label: {row.label}, but {where} has the same content with label"
                f" {earlier.label}"
            )
        elif earlier.identity_id != row.identity_id:
            findings.warnings.append(
                f"{draft.where}: same content as {where}, but another identity_id"
            )


def _warn_of_lone_fakes(rows: Sequence[InputRow], findings: Findings) -> None:
    known = {row.video_id for row in rows}
    fakes = [row for row in rows if row.label == FAKE]
    lone = [row.video_id for row in fakes if not row.original_video_id]
    if lone:
        findings.warnings.append(f"fakes without an original: {len(lone)} ({listed(lone)})")
    unknown = [
        row.original_video_id
        for row in fakes
        if row.original_video_id and row.original_video_id not in known
    ]
    if unknown:
        findings.warnings.append(
            f"fakes whose original is not among the inputs: {len(unknown)} ({listed(unknown)})"
        )


def _warn_of_no_inswapper(rows: Sequence[InputRow], findings: Findings) -> None:
    counts = Counter(row.fake_type for row in rows if row.label == FAKE)
    # Photographs with pseudo-swaps are meant to be so.
    if counts.keys() - {"pseudo"} and not counts["inswapper"]:
        kinds = ", ".join(f"{kind} {number}" for kind, number in counts.most_common())
        findings.warnings.append(
            f"no INSwapper fakes ({kinds}): the INSwapper head learns only from swaps made in"
            " training (pseudo_swap), and inswapper_recall is not defined"
        )
