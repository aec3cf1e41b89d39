"""The exported detector: contents of a bundle, and how one is loaded and verified.

An ONNX file with flipped bits or NaN weights loads without an error, so a bundle is used only after
its hashes match and it reproduces its golden outputs on this machine.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import onnxruntime
from pydantic import Field, ValidationError

from pipeline.bundle.session import (
    INPUT,
    GoldenOutputs,
    Logits,
    golden_outputs,
    open_session,
    run_session,
)
from pipeline.core.arrays import FloatArray
from pipeline.decision.decide import DecisionSpec
from pipeline.decision.fusion import Finite
from pipeline.runtime.errors import BundleError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import OpenFraction, StrictModel
from pipeline.seam.features import feature_names
from pipeline.seam.trees import TreeEnsemble
from pipeline.views.preprocess import Preprocess

SCHEMA_VERSION: Final = 3
SPEC_FILE: Final = "detector.json"
# Largest difference of logits, relative where they exceed 1: processors with other vector units
# round differently, and int8 kernels differ more.
TOLERANCE: Final = {"fp32": 2e-3, "int8": 1e-1}

# detector.json stores six significant digits.
GOLDEN_SEAM_TOLERANCE: Final = 1e-4

Precision = Literal["fp32", "int8"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class FileSpec(StrictModel):
    """One file of the bundle."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]


class Golden(StrictModel):
    """Expected outputs for golden inputs.

    outputs: of each model file, for `count` crops of `golden_crops`. seam: logits of the trees, for
    `count` rows of `golden_features`.
    """

    count: Annotated[int, Field(ge=1)]
    outputs: dict[Precision, GoldenOutputs]
    seam: list[Finite]


class Int8Check(StrictModel):
    """Whether the quantised model passed its check, and why."""

    written: bool
    reason: str
    auc_change: Finite | None = None
    verdict_flips_frac: Finite | None = None


class FaceFinder(StrictModel):
    """Face detector whose boxes the training crops were cut around; a service should use it too."""

    detector: str
    pack: str
    min_score: Finite


class FrameSampling(StrictModel):
    """Sampling of frames in training; a service should use the same values."""

    frames_per_scene: Annotated[int, Field(ge=1)]
    scene_threshold: OpenFraction
    min_scene_s: Finite


class Provenance(StrictModel):
    """Origin of the weights.

    It holds digests instead of a Git revision, which would change the bundle's bytes with every
    commit; digests change only with code, params or data.
    """

    code_sha256: Sha256
    params_sha256: Sha256
    data_sha256: dict[str, Sha256]
    trained_on: str
    epoch: int


class DetectorSpec(StrictModel):
    """detector.json: everything that a service needs in addition to the ONNX file.

    version: changes with the weights and the decision. models: ONNX file per precision. seam_trees:
    file of the trees on seam features. files: every other file of the bundle by name. heads: output
    names and their shapes without the batch. quality: thresholds of pipeline.views.quality.
    metrics: headline numbers of the test split, null if undefined.
    """

    schema_version: int
    name: str
    version: Annotated[str, Field(min_length=1)]
    opset: int
    preprocess: Preprocess
    decision: DecisionSpec
    heads: dict[str, list[int]]
    quality: dict[str, Any]
    face_finder: FaceFinder
    sampling: FrameSampling
    models: dict[Precision, FileName]
    seam_trees: FileName
    files: dict[FileName, FileSpec]
    int8: Int8Check
    golden: Golden
    provenance: Provenance
    metrics: dict[str, Finite | None]


@dataclass(frozen=True)
class Bundle:
    """A verified detector, ready to run. Safe to use from several threads."""

    directory: Path
    spec: DetectorSpec
    precision: Precision
    session: onnxruntime.InferenceSession
    trees: TreeEnsemble

    @property
    def sha256(self) -> str:
        """sha256 of the ONNX file in use."""
        return self.spec.files[self.spec.models[self.precision]].sha256

    def predict(self, inputs: FloatArray) -> Logits:
        """Logits per head, each (n, ...), for (n, 3, size, size) float32 of `Preprocess.to_input`.

        Raises ValueError on another shape or type, BundleError when an output is not finite.
        """
        size_px = self.spec.preprocess.size_px
        if inputs.dtype != np.float32 or inputs.shape[1:] != (3, size_px, size_px):
            raise ValueError(
                f"expected (n, 3, {size_px}, {size_px}) float32, got {inputs.shape} {inputs.dtype}"
            )
        return run_session(self.session, inputs, list(self.spec.heads))


def load_bundle(
    directory: Path,
    threads: int,
    precision: Precision = "fp32",
    providers: Sequence[str] = ("CPUExecutionProvider",),
) -> Bundle:
    """Read and verify a bundle: schema, hashes, graph, golden outputs.

    threads: number of threads for one inference; use the cores available to this process, not the
    host's count. Raises BundleError with the file and its fault.
    """
    spec = read_spec(directory / SPEC_FILE)
    if precision not in spec.models:
        raise BundleError(
            f"{directory / SPEC_FILE}: models: no {precision} model in this bundle "
            f"(available: {', '.join(sorted(spec.models))}; int8: {spec.int8.reason})"
        )
    contents = {name: _verified(directory / name, entry) for name, entry in spec.files.items()}
    name = spec.models[precision]
    session = open_session(contents[name], threads, providers, label=str(directory / name))
    _check_graph(directory / name, session, spec)
    check_golden(directory / name, session, spec, precision)
    trees_path = directory / spec.seam_trees
    trees = TreeEnsemble.from_bytes(contents[spec.seam_trees], str(trees_path))
    _check_trees(trees_path, trees, spec)
    return Bundle(directory, spec, precision, session, trees)


def read_spec(path: Path) -> DetectorSpec:
    """Read detector.json.

    Raises BundleError when it is missing, not JSON, of another schema version or has invalid
    values.
    """
    try:
        text = path.read_bytes()
        raw = json.loads(text)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise BundleError(f"{path}: expected a JSON object, got {type(raw).__name__}")
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema_version: this version reads {SCHEMA_VERSION}, got {version!r}; "
            "export the bundle again or use the version that wrote it"
        )
    try:
        spec = DetectorSpec.model_validate_json(text)
    except ValidationError as error:
        raise BundleError("\n".join(validation_lines(path, error))) from None
    unlisted = sorted({*spec.models.values(), spec.seam_trees} - set(spec.files))
    if unlisted:
        raise BundleError(f"{path}: files: no entry for {', '.join(unlisted)}")
    return spec


def check_golden(
    path: Path, session: onnxruntime.InferenceSession, spec: DetectorSpec, precision: Precision
) -> None:
    """Raise BundleError when the model does not reproduce the outputs stored at export."""
    expected = spec.golden.outputs.get(precision)
    if expected is None:
        raise BundleError(f"{path}: detector.json has no golden outputs for {precision}")
    try:
        found = golden_outputs(session, spec.preprocess, spec.golden.count, list(spec.heads))
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    tolerance = TOLERANCE[precision]
    for head in spec.heads:
        want, got = (
            np.asarray(getattr(side, head), dtype=np.float64) for side in (expected, found)
        )
        if want.shape != got.shape:
            raise BundleError(f"{path}: {head}: golden shape {want.shape}, got {got.shape}")
        worst = float(np.abs(want - got).max())
        if worst > tolerance * max(1.0, float(np.abs(want).max())):
            raise BundleError(
                f"{path}: {head}: golden outputs differ by {worst:.3g} (tolerance {tolerance:g}); "
                "the file was altered or this machine computes incorrectly"
            )


def golden_features(count: int) -> FloatArray:
    """(count, k) float32 synthetic seam features, some NaN, the same on every machine."""
    width = len(feature_names())
    mixed = (np.arange(count * width, dtype=np.uint64) * np.uint64(2654435761)) >> np.uint64(12)
    features = (mixed % np.uint64(2001)).astype(np.float32) / np.float32(1000) - np.float32(1)
    features = features.reshape(count, width)
    features[:, ::17] = np.nan
    return features


def golden_seam(trees: TreeEnsemble, count: int) -> list[float]:
    """Logits of an ensemble for the golden features."""
    return [float(f"{logit:.9g}") for logit in trees.logits(golden_features(count))]


def _check_trees(path: Path, trees: TreeEnsemble, spec: DetectorSpec) -> None:
    """Raise BundleError unless the trees use known features and reproduce their golden outputs."""
    if int(trees.feature.max()) >= len(feature_names()):
        raise BundleError(
            f"{path}: uses feature {int(trees.feature.max())}, expected at most"
            f" {len(feature_names()) - 1}, the last seam feature"
        )
    found = golden_seam(trees, spec.golden.count)
    if not np.allclose(found, spec.golden.seam, atol=GOLDEN_SEAM_TOLERANCE, rtol=0):
        raise BundleError(
            f"{path}: golden outputs differ; the file was altered or this machine computes"
            " incorrectly"
        )


def _verified(path: Path, entry: FileSpec) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.sha256:
        raise BundleError(
            f"{path}: sha256 {digest[:12]}... ({len(content)} bytes), detector.json says "
            f"{entry.sha256[:12]}... ({entry.size_bytes} bytes)"
        )
    return content


def _check_graph(path: Path, session: onnxruntime.InferenceSession, spec: DetectorSpec) -> None:
    size_px = spec.preprocess.size_px
    inputs = {node.name: node.shape for node in session.get_inputs()}
    outputs = {node.name: node.shape for node in session.get_outputs()}
    faults = []
    if set(inputs) != {INPUT} or inputs[INPUT][1:] != [3, size_px, size_px]:
        faults.append(
            f"{path}: inputs: expected {INPUT} (n, 3, {size_px}, {size_px}), got {inputs}"
        )
    if set(GoldenOutputs.model_fields) != set(spec.heads):
        faults.append(f"{path}: heads: expected {sorted(GoldenOutputs.model_fields)}")
    for head, shape in spec.heads.items():
        if head not in outputs:
            faults.append(f"{path}: outputs: {head} is missing, got {sorted(outputs)}")
        elif outputs[head][1:] != shape:
            faults.append(f"{path}: outputs: {head}: expected (n, *{shape}), got {outputs[head]}")
    if faults:
        raise BundleError("\n".join(faults))
