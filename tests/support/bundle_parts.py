"""Parts of a bundle with a tiny ONNX graph, for tests that damage one of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.bundle.load import SCHEMA_VERSION, golden_seam
from pipeline.bundle.session import golden_outputs, open_session
from pipeline.seam.features import feature_names
from pipeline.views.preprocess import Preprocess
from tests.support.bundles import file_entry
from tests.support.decisions import decision_of, limits_of
from tests.support.tiny_trees import stump

SIZE = 64
HEADS = {"real_fake": [], "inswapper": [], "boundary": [], "quality": [3], "seam_map": [32, 32]}
PREPROCESS = Preprocess(size_px=SIZE, scales=(1.1, 1.5), aligned=True)
# The first column of the golden seam features has one value above and one below this threshold.
TREES = stump(feature_names()[1], 0.0)


def tiny_graph(scale: float = 1.0, *, quality_classes: int = 3) -> bytes:
    """A graph with one mean and one product per head: the crop's mean colour times weights."""
    weights = {
        "w_flat": np.array([[0.5], [-0.25], [1.0]], dtype=np.float32) * np.float32(scale),
        "w_quality": np.ones((3, quality_classes), dtype=np.float32),
        "w_map": np.linspace(-1, 1, 3 * 1024, dtype=np.float32).reshape(3, 1024),
        "flat": np.array([-1], dtype=np.int64),
        "map_shape": np.array([-1, 32, 32], dtype=np.int64),
    }
    nodes = [helper.make_node("ReduceMean", ["crops", "axes"], ["mean"], keepdims=0)]
    weights["axes"] = np.array([2, 3], dtype=np.int64)
    for head in ("real_fake", "inswapper", "boundary"):
        nodes.append(helper.make_node("MatMul", ["mean", "w_flat"], [f"{head}_column"]))
        nodes.append(helper.make_node("Reshape", [f"{head}_column", "flat"], [head]))
    nodes.append(helper.make_node("MatMul", ["mean", "w_quality"], ["quality"]))
    nodes.append(helper.make_node("MatMul", ["mean", "w_map"], ["map_row"]))
    nodes.append(helper.make_node("Reshape", ["map_row", "map_shape"], ["seam_map"]))
    shapes = HEADS | {"quality": [quality_classes]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(head, TensorProto.FLOAT, ["n", *shape])
            for head, shape in shapes.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def spec_of(model: bytes) -> dict[str, Any]:
    golden = golden_outputs(
        open_session(model, 1, ["CPUExecutionProvider"], "tiny"), PREPROCESS, 2, list(HEADS)
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "name": "tiny",
        "version": "0",
        "opset": 18,
        "preprocess": PREPROCESS.to_dict(),
        "decision": decision_of(limits_of(0.5, 0.7)).model_dump(),
        "heads": HEADS,
        "quality": {},
        "face_finder": {"detector": "insightface", "pack": "any", "min_score": 0.5},
        "sampling": {"frames_per_scene": 6, "scene_threshold": 0.35, "min_scene_s": 0.4},
        "models": {"fp32": "detector.onnx"},
        "seam_trees": "trees.npz",
        "files": {
            "detector.onnx": file_entry(model),
            "trees.npz": file_entry(TREES.to_bytes()),
        },
        "int8": {"written": False, "reason": "not asked for"},
        "golden": {
            "count": 2,
            "outputs": {"fp32": golden.model_dump()},
            "seam": golden_seam(TREES, 2),
        },
        "provenance": {
            "code_sha256": "0" * 64,
            "params_sha256": "0" * 64,
            "data_sha256": {},
            "trained_on": "nothing",
            "epoch": 0,
        },
        "metrics": {"auc": 0.9, "recall": None},
    }


def write(
    folder: Path, model: bytes, spec: dict[str, Any], trees: bytes = TREES.to_bytes()
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "detector.onnx").write_bytes(model)
    (folder / "trees.npz").write_bytes(trees)
    (folder / "detector.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder
