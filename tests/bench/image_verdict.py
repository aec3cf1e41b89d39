"""Benchmark of single images from file to verdict, and of the network alone."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from loky import cpu_count

from pipeline.bundle.load import SPEC_FILE, Bundle, load_bundle, read_spec
from serve.detector.bundles import EXPORT, RELEASE
from serve.detector.images import decode_image
from serve.detector.inference import SwapDetector
from tests.bench.options import Options
from tests.bench.references import by_default_sessions, in_torch, served, torch_bundle
from tests.bench.rows import Goal, Row, faster, longer, skipped
from tests.bench.timing import timed
from tests.loadtest.inputs import SIDE_PX, encoded, photograph

IMAGES = 10
MAX_PIXELS = 50_000_000
WORK = f"image to verdict, {SIDE_PX}-px JPEG"
TORCH = "torch eager, the same network with random weights"
BOTH_TORCH = "torch eager: face detector and network"
DEFAULTS = "onnxruntime's default sessions"


def rows(options: Options) -> list[Row]:
    """Raises BundleError, DetectorError or PackageError."""
    cv2.setNumThreads(cpu_count())
    ours = served()
    return [*verdict_rows(ours, options.rounds), *network_rows(ours.bundle, options.rounds)]


def verdict_rows(ours: SwapDetector, rounds: int) -> list[Row]:
    content = encoded(photograph())
    detectors = {"ours": ours, "torch": in_torch(ours), "default": by_default_sessions(ours)}
    works = {name: scoring(detector, content) for name, detector in detectors.items()}
    found = timed(works, rounds)
    mine, default = found["ours"], found["default"]
    return [
        faster(WORK, BOTH_TORCH, mine, found["torch"], IMAGES, "images/s", Goal(2.2)),
        faster(WORK, DEFAULTS, mine, default, IMAGES, "images/s", None),
        longer(
            f"{WORK}: CPU time",
            DEFAULTS,
            mine.processor,
            default.processor,
            IMAGES,
            "ms",
            Goal(0.5, at_least=False),
        ),
    ]


def scoring(detector: SwapDetector, content: bytes) -> Callable[[], None]:
    """A function that scores the file's bytes IMAGES times."""

    def score() -> None:
        for _ in range(IMAGES):
            detector.score_image(decode_image(io.BytesIO(content), MAX_PIXELS).rgb)

    return score


def network_rows(bundle: Bundle, rounds: int) -> list[Row]:
    """Network alone on one crop at a time: ours, torch, and int8 if a bundle has it."""
    quantised = int8_bundle()
    bundles = {"ours": bundle, "torch": torch_bundle(bundle)}
    if quantised is not None:
        bundles |= {"int8": quantised, "fp32": load_bundle(quantised.directory, cpu_count())}
    found = timed({name: predicting(one) for name, one in bundles.items()}, rounds)

    def row(work: str, against: str, ours: str, theirs: str, goal: Goal) -> Row:
        return faster(work, against, found[ours], found[theirs], IMAGES, "crops/s", goal)

    alone = "network alone, one crop"
    first = row(alone, TORCH, "ours", "torch", Goal(2.2))
    if quantised is None:
        return [
            first,
            skipped(f"{alone}, int8", "no bundle's int8 model has passed its gate"),
        ]
    gate = f"fp32; gate: {quantised.spec.int8.reason}"
    return [first, row(f"{alone}, int8 of {quantised.directory}", gate, "int8", "fp32", Goal(1.6))]


def predicting(bundle: Bundle) -> Callable[[], None]:
    size_px = bundle.spec.preprocess.size_px
    crop = np.random.default_rng(1).normal(size=(1, 3, size_px, size_px)).astype(np.float32)

    def predict() -> None:
        for _ in range(IMAGES):
            bundle.predict(crop)

    return predict


def int8_bundle() -> Bundle | None:
    """The released, else the exported bundle with its int8 model, which has passed its gate."""
    for folder in (RELEASE, EXPORT):
        path = folder / SPEC_FILE
        if path.is_file() and "int8" in read_spec(path).models:
            return load_bundle(folder, cpu_count(), "int8")
    return None
