"""Bundles with tiny ONNX graphs: every kind of fault is rejected with the file's name."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.bundle.load import (
    SCHEMA_VERSION,
    Bundle,
    golden_features,
    golden_seam,
    load_bundle,
    read_spec,
)
from pipeline.bundle.session import golden_crops
from pipeline.runtime.errors import BundleError
from pipeline.seam.features import feature_names
from tests.support.bundle_parts import HEADS, PREPROCESS, SIZE, TREES, spec_of, tiny_graph, write
from tests.support.bundles import file_entry


@pytest.fixture
def model() -> bytes:
    return tiny_graph()


@pytest.fixture
def spec(model: bytes) -> dict[str, Any]:
    return spec_of(model)


def load(folder: Path) -> Bundle:
    return load_bundle(folder, threads=1)


def test_a_valid_bundle_predicts_any_number_of_crops(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    bundle = load(write(tmp_path, model, spec))
    inputs = PREPROCESS.to_input(golden_crops(9, SIZE))
    logits = bundle.predict(inputs)
    assert {head: values.shape for head, values in logits.items()} == {
        head: (9, *shape) for head, shape in HEADS.items()
    }
    expected = inputs.mean(axis=(2, 3)) @ np.array([0.5, -0.25, 1.0], dtype=np.float32)
    assert logits["real_fake"] == pytest.approx(expected, abs=1e-5)
    assert bundle.spec.preprocess == PREPROCESS
    assert bundle.spec.decision.thresholds.fake_from == 0.7
    assert bundle.sha256 == hashlib.sha256(model).hexdigest()
    features = golden_features(5)
    assert bundle.trees.logits(features).tolist() == TREES.logits(features).tolist()


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros((1, 3, SIZE, SIZE), dtype=np.float64),
        np.zeros((1, 3, 32, 32), dtype=np.float32),
        np.zeros((3, SIZE, SIZE), dtype=np.float32),
    ],
)
def test_inputs_of_another_shape_or_type_are_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any], inputs: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="float32"):
        load(write(tmp_path, model, spec)).predict(inputs)


def test_inputs_with_infinite_outputs_are_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    inputs = np.full((1, 3, SIZE, SIZE), np.nan, dtype=np.float32)
    with pytest.raises(BundleError, match="not finite: boundary, inswapper"):
        load(write(tmp_path, model, spec)).predict(inputs)


def test_a_flipped_byte_is_detected(tmp_path: Path, model: bytes, spec: dict[str, Any]) -> None:
    damaged = bytearray(model)
    damaged[len(model) // 2] ^= 0x10
    folder = write(tmp_path, bytes(damaged), spec)
    with pytest.raises(BundleError, match=r"detector\.onnx: sha256 .* detector\.json says"):
        load(folder)


def test_other_weights_with_a_matching_hash_fail_the_golden_check(
    tmp_path: Path, spec: dict[str, Any]
) -> None:
    other = tiny_graph(scale=1.1)
    spec["files"]["detector.onnx"] = file_entry(other)
    with pytest.raises(BundleError, match="real_fake: golden outputs differ by"):
        load(write(tmp_path, other, spec))


def test_nan_weights_are_rejected(tmp_path: Path, spec: dict[str, Any]) -> None:
    broken = tiny_graph(scale=float("nan"))
    spec["files"]["detector.onnx"] = file_entry(broken)
    with pytest.raises(BundleError, match=r"detector\.onnx: the model's outputs are not finite"):
        load(write(tmp_path, broken, spec))


def test_a_graph_of_another_shape_is_rejected(tmp_path: Path, spec: dict[str, Any]) -> None:
    other = tiny_graph(quality_classes=4)
    spec["files"]["detector.onnx"] = file_entry(other)
    with pytest.raises(BundleError, match=r"outputs: quality: expected \(n, \*\[3\]\), got"):
        load(write(tmp_path, other, spec))


def test_a_graph_for_another_crop_size_is_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    spec["preprocess"]["size_px"] = 96
    with pytest.raises(BundleError, match=r"inputs: expected crops \(n, 3, 96, 96\)"):
        load(write(tmp_path, model, spec))


def test_bytes_that_are_not_a_graph_are_rejected(tmp_path: Path, spec: dict[str, Any]) -> None:
    spec["files"]["detector.onnx"] = file_entry(b"no graph")
    with pytest.raises(BundleError, match=r"detector\.onnx: onnxruntime cannot load it"):
        load(write(tmp_path, b"no graph", spec))


@pytest.mark.parametrize("name", ["detector.onnx", "trees.npz", "detector.json"])
def test_a_missing_file_is_named(
    tmp_path: Path, model: bytes, spec: dict[str, Any], name: str
) -> None:
    folder = write(tmp_path, model, spec)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: cannot be read \(No such file"):
        load(folder)


@pytest.mark.parametrize("version", [1, 2, 4, 0, None, "3"])
def test_another_schema_is_rejected_before_anything_else(
    tmp_path: Path, model: bytes, spec: dict[str, Any], version: Any
) -> None:
    spec = {"schema_version": version, "unknown": 1}
    with pytest.raises(
        BundleError, match=rf"schema_version: this version reads {SCHEMA_VERSION}, got {version!r}"
    ):
        load(write(tmp_path, model, spec))


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_text_that_is_not_a_specification(tmp_path: Path, text: str) -> None:
    path = tmp_path / "detector.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=r"detector\.json: (not JSON|expected a JSON object)"):
        read_spec(path)


def test_wrong_values_are_reported_together(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    spec["decision"]["temperature"] = 0
    spec["models"]["fp32"] = "../detector.onnx"
    spec["surprise"] = True
    with pytest.raises(BundleError) as caught:
        load(write(tmp_path, model, spec))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "decision.temperature" in lines[0]
    assert "models.fp32" in lines[1]
    assert "surprise" in lines[2]


def test_a_model_without_an_entry_is_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    spec["models"]["int8"] = "detector.int8.onnx"
    with pytest.raises(BundleError, match=r"files: no entry for detector\.int8\.onnx"):
        load(write(tmp_path, model, spec))


def test_trees_without_an_entry_are_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    del spec["files"]["trees.npz"]
    with pytest.raises(BundleError, match=r"files: no entry for trees\.npz"):
        load(write(tmp_path, model, spec))


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_a_flipped_byte_of_the_trees_is_detected(
    tmp_path: Path, model: bytes, spec: dict[str, Any], place: float
) -> None:
    damaged = bytearray(TREES.to_bytes())
    damaged[int(place * len(damaged))] ^= 0x10
    with pytest.raises(BundleError, match=r"trees\.npz: sha256 .* detector\.json says"):
        load(write(tmp_path, model, spec, bytes(damaged)))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"value": np.array([0.0, 1.0, -1.0])}, r"golden outputs differ"),
        ({"threshold": np.array([5.0, 0.0, 0.0])}, r"golden outputs differ"),
        ({"baseline": 0.001}, r"golden outputs differ"),
        (
            {"feature": np.array([len(feature_names()), 0, 0], np.int32)},
            r"uses feature 1184, expected at most 1183",
        ),
        ({"right": np.array([3, 1, 2], np.int32)}, r"outside the table of 3 nodes"),
        ({"value": np.array([0.0, np.nan, 1.0])}, r"a leaf is not finite"),
    ],
)
def test_other_trees_with_a_matching_hash_are_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any], change: dict[str, Any], fault: str
) -> None:
    other = replace(TREES, **change).to_bytes()
    spec["files"]["trees.npz"] = file_entry(other)
    with pytest.raises(BundleError, match=rf"trees\.npz: .*{fault}"):
        load(write(tmp_path, model, spec, other))


@pytest.mark.parametrize("content", [b"no archive", b"PK\x03\x04 and nothing else", b""])
def test_bytes_that_are_not_trees_are_rejected(
    tmp_path: Path, model: bytes, spec: dict[str, Any], content: bytes
) -> None:
    spec["files"]["trees.npz"] = file_entry(content) | {"size_bytes": max(1, len(content))}
    with pytest.raises(BundleError, match=r"trees\.npz: not an ensemble of trees"):
        load(write(tmp_path, model, spec, content))


def test_golden_features_are_fixed_and_partly_unknown() -> None:
    features = golden_features(3)
    assert features.shape == (3, len(feature_names()))
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[:2], golden_features(2))
    known = features[np.isfinite(features)]
    assert 0.05 < 1 - len(known) / features.size < 0.07
    assert -1 <= known.min() < -0.99
    assert 0.99 < known.max() <= 1
    assert abs(float(known.mean())) < 0.1
    assert sorted(golden_seam(TREES, 3)) == sorted(TREES.logits(features).tolist())
    assert set(golden_seam(TREES, 8)) == {-1.0, 1.0}  # both leaves are reached


def test_a_missing_int8_model_is_reported_with_the_reason(
    tmp_path: Path, model: bytes, spec: dict[str, Any]
) -> None:
    folder = write(tmp_path, model, spec)
    with pytest.raises(BundleError, match=r"no int8 model in this bundle .* not asked for"):
        load_bundle(folder, threads=1, precision="int8")
