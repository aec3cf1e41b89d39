"""Promotes an exported bundle to data/release, the detector that a clone serves untrained."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle.load import SPEC_FILE, DetectorSpec, load_bundle
from pipeline.core.files import write_json
from pipeline.runtime.errors import BundleError
from pipeline.training.evaluation.evaluate import SAMPLE_ROOT
from pipeline.training.export.writer import CARD_FILE, file_spec

# Written by hand, in the released folder alone.
LICENSE_FILE = "LICENSE.md"
# All files together: what a clone should have to carry.
MAX_BYTES = 40_000_000
# What the test split must show before anybody is given the detector.
WANTED = {"auc": (0.9, 1.0), "fpr": (0.0, 0.05)}


@dataclass(frozen=True)
class Released:
    """The bundle that was promoted, and that which it replaced, if there was one to be read."""

    spec: DetectorSpec
    before: DetectorSpec | None


def release(exported: Path, target: Path, notes: Path | None, threads: int) -> Released:
    """Check a bundle, append `notes` (Markdown) to its model card, and put it in `target`'s place.

    Raises BundleError when it does not load, was trained on the embedded sample, is too large or
    falls short of the least numbers; nothing is replaced then.
    """
    spec = _checked(exported, threads)
    before = _replaced(target, threads)
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name in (*spec.files, SPEC_FILE):
        shutil.copyfile(exported / name, temporary / name)
    if notes is not None:
        spec = _with_notes(temporary, spec, notes)
    for precision in spec.models:
        spec = load_bundle(temporary, threads, precision).spec
    if (target / LICENSE_FILE).is_file():
        shutil.copyfile(target / LICENSE_FILE, temporary / LICENSE_FILE)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    return Released(spec, before)


def summary_lines(released: Released) -> list[str]:
    """What is released now and how it compares with what was there."""
    old = {} if released.before is None else released.before.metrics
    lines = [f"version {released.spec.version}, trained on {released.spec.provenance.trained_on}"]
    for name, value in sorted(released.spec.metrics.items()):
        if name.endswith(("_low", "_high")):
            continue
        was = f"  (before {_text(old[name])})" if name in old else ""
        lines.append(f"{name:17} {_text(value)}{was}")
    return lines


def _replaced(target: Path, threads: int) -> DetectorSpec | None:
    """What stands there; a release of an earlier schema can be replaced, but not compared with."""
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
        faults.append("it was trained on the embedded sample, which proves only the pipeline")
    size = sum(entry.size_bytes for entry in spec.files.values())
    if size > MAX_BYTES:
        faults.append(f"its files have {size:,} bytes, at most {MAX_BYTES:,} are wanted")
    for name, (low, high) in WANTED.items():
        value = spec.metrics.get(name)
        if value is None or not low <= value <= high:
            faults.append(f"metrics.{name}: {low:g} to {high:g} is wanted, got {_text(value)}")
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
