"""ONNX files with a few nodes."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def save_graph(path: Path, shape: list[int], output: NDArray[np.float32]) -> None:
    """Write an ONNX file that gives the same output for every input."""
    node = helper.make_node("Constant", [], ["output"], value=numpy_helper.from_array(output))
    save_nodes(path, shape, [node], list(output.shape), [])


def save_nodes(
    path: Path,
    shape: list[int],
    nodes: list[onnx.NodeProto],
    output_shape: list[int],
    constants: list[onnx.TensorProto],
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output_shape)],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
