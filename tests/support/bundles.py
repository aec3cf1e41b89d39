"""A real bundle with a tiny ONNX graph whose outputs can be computed by hand.

The graph depends only on brightness: with m the mean of a normalised crop,
real_fake = gain * m + bias, inswapper = real_fake / 2, boundary = real_fake / 4. The trees return
+1 for a face whose surroundings are mostly inside the image, else -1.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.bundle.load import SCHEMA_VERSION, SPEC_FILE, DetectorSpec, golden_seam
from pipeline.bundle.session import INPUT, golden_outputs, open_session
from pipeline.views.preprocess import Preprocess
from tests.support.decisions import decision_of, limits_of
from tests.support.tiny_trees import stump

MODEL_FILE = "detector.onnx"
TREES_FILE = "seam_trees.npz"
HEADS: dict[str, list[int]] = {
    "boundary": [],
    "inswapper": [],
    "quality": [3],
    "real_fake": [],
    "seam_map": [32, 32],
}
OPSET = 18
NOWHERE = "0" * 64


def tiny_graph(size_px: int, gain: float = 1.0, bias: float = 0.0) -> bytes:
    """A graph from crops (n, 3, size, size) to the five heads; size is a multiple of 32."""
    constants = {
        "pixels": np.array([1, 2, 3], np.int64),
        "sides": np.array([2, 3], np.int64),
        "colours": np.array([1], np.int64),
        "gain": np.array(gain, np.float32),
        "bias": np.array(bias, np.float32),
        "half": np.array(0.5, np.float32),
    }
    cell = size_px // 32
    nodes = [
        helper.make_node("ReduceMean", [INPUT, "pixels"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["real_fake"]),
        helper.make_node("Mul", ["real_fake", "half"], ["inswapper"]),
        helper.make_node("Mul", ["inswapper", "half"], ["boundary"]),
        helper.make_node("ReduceMean", [INPUT, "sides"], ["quality"], keepdims=0),
        helper.make_node("ReduceMean", [INPUT, "colours"], ["grey"], keepdims=1),
        helper.make_node(
            "AveragePool", ["grey"], ["pooled"], kernel_shape=[cell] * 2, strides=[cell] * 2
        ),
        helper.make_node("Squeeze", ["pooled", "colours"], ["seam_map"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, size_px, size_px])],
        [
            helper.make_tensor_value_info(head, TensorProto.FLOAT, ["n", *shape])
            for head, shape in HEADS.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def write_bundle(
    folder: Path,
    *,
    size_px: int = 64,
    gain: float = 1.0,
    bias: float = 0.0,
    thresholds: tuple[float, float] = (0.5, 0.8),
    min_face_px: int = 60,
    trained_on: str = "data",
    **changes: Any,
) -> Path:
    """Write a bundle that `load_bundle` accepts and return its folder.

    thresholds: for suspicious and for fake. changes: JSON values of further top-level fields of
    detector.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_graph(size_px, gain, bias)
    trees = stump()
    contents = {MODEL_FILE: model, TREES_FILE: trees.to_bytes()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    preprocess = Preprocess(size_px=size_px, aligned=True)
    session = open_session(model, 1, ["CPUExecutionProvider"], MODEL_FILE)
    golden = golden_outputs(session, preprocess, 2, list(HEADS))
    suspicious, fake = thresholds
    raw = {
        "schema_version": SCHEMA_VERSION,
        "name": "tiny",
        "version": "test",
        "opset": OPSET,
        "preprocess": preprocess.to_dict(),
        "decision": decision_of(
            limits_of(suspicious, fake, best_f1=suspicious, balanced=suspicious),
            min_face_px=min_face_px,
        ).model_dump(),
        "heads": HEADS,
        "quality": {},
        "face_finder": {"detector": "insightface", "pack": "retinaface_mnet025", "min_score": 0.5},
        "sampling": {"frames_per_scene": 6, "scene_threshold": 0.35, "min_scene_s": 0.4},
        "models": {"fp32": MODEL_FILE},
        "seam_trees": TREES_FILE,
        "files": {name: file_entry(content) for name, content in contents.items()},
        "int8": {"written": False, "reason": "not asked for"},
        "golden": {
            "count": 2,
            "outputs": {"fp32": golden.model_dump()},
            "seam": golden_seam(trees, 2),
        },
        "provenance": {
            "code_sha256": NOWHERE,
            "params_sha256": NOWHERE,
            "data_sha256": {},
            "trained_on": trained_on,
            "epoch": 0,
        },
        "metrics": {},
    } | changes
    text = json.dumps(raw, indent=2, sort_keys=True) + "\n"
    DetectorSpec.model_validate_json(text)
    (folder / SPEC_FILE).write_text(text)
    return folder


def file_entry(content: bytes) -> dict[str, Any]:
    """Entry of a file in detector.json."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
