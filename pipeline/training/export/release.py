"""Promotion of an exported bundle to data/release, which a clone serves without training."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle.load import SPEC_FILE, DetectorSpec, load_bundle
from pipeline.core.files import replacing_folder, write_json
from pipeline.runtime.errors import BundleError
from pipeline.training.evaluation.evaluate import SAMPLE_ROOT
from pipeline.training.export.writer import CARD_FILE, file_spec

# Largest total size of the files, because every clone contains them.
MAX_BYTES = 40_000_000
# Ranges of test metrics that a released detector must reach.
WANTED = {"auc": (0.9, 1.0), "fpr": (0.0, 0.05)}
# No part of a bundle: the licence of the released weights.
LICENSE_FILE = "LICENSE.md"


@dataclass(frozen=True)
class Released:
    """The promoted bundle, and the one it replaced, if that could be read."""

    spec: DetectorSpec
    before: DetectorSpec | None


def release(exported: Path, target: Path, notes: Path | None, threads: int) -> Released:
    """Check a bundle, append `notes` (Markdown) to its model card, and replace `target` with it.

    Raises BundleError if it does not load, was trained on the embedded sample, is too large or has
    test metrics outside the required ranges. Nothing is replaced in that case.
    """
    spec = _checked(exported, threads)
    before = _replaced(target, threads)
    with replacing_folder(target) as temporary:
        for name in (*spec.files, SPEC_FILE):
            shutil.copyfile(exported / name, temporary / name)
        if (target / LICENSE_FILE).is_file():
            shutil.copyfile(target / LICENSE_FILE, temporary / LICENSE_FILE)
        if notes is not None:
            spec = _with_notes(temporary, spec, notes)
        for precision in spec.models:
            spec = load_bundle(temporary, threads, precision).spec
    return Released(spec, before)


def summary_lines(released: Released) -> list[str]:
    """Lines that describe the released bundle and compare it with the one before."""
    old = {} if released.before is None else released.before.metrics
    lines = [f"version {released.spec.version}, trained on {released.spec.provenance.trained_on}"]
    for name, value in sorted(released.spec.metrics.items()):
        if name.endswith(("_low", "_high")):
            continue
        before = f"  (before {_text(old[name])})" if name in old else ""
        lines.append(f"{name:17} {_text(value)}{before}")
    return lines


def _replaced(target: Path, threads: int) -> DetectorSpec | None:
    """The bundle in `target`; None if there is none or its schema is too old to compare."""
    try:
        return load_bundle(target, threads).spec
    except BundleError:
        return None


def _checked(exported: Path, threads: int) -> DetectorSpec:
    spec = load_bundle(exported, threads).spec
    for precision in spec.models:
        load_bundle(exported, threads, precision)
    faults = []
    if spec.provenance.trained_on == SAMPLE_ROOT:
        faults.append("it was trained on the embedded sample, which only tests the pipeline")
    size = sum(entry.size_bytes for entry in spec.files.values())
    if size > MAX_BYTES:
        faults.append(f"its files total {size:,} bytes, expected at most {MAX_BYTES:,}")
    for name, (low, high) in WANTED.items():
        value = spec.metrics.get(name)
        if value is None or not low <= value <= high:
            faults.append(f"metrics.{name}: expected {low:g} to {high:g}, got {_text(value)}")
    if faults:
        raise BundleError("\n".join(f"{exported / SPEC_FILE}: {fault}" for fault in faults))
    return spec


def _with_notes(folder: Path, spec: DetectorSpec, notes: Path) -> DetectorSpec:
    try:
        text = notes.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(f"{notes}: cannot be read ({error.strerror})") from None
    card = folder / CARD_FILE
    card.write_text(card.read_text(encoding="utf-8").rstrip() + "\n\n" + text, encoding="utf-8")
    spec = spec.model_copy(update={"files": {**spec.files, CARD_FILE: file_spec(card)}})
    write_json(folder / SPEC_FILE, spec.model_dump())
    return spec


def _text(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
