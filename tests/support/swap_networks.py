"""Tiny ONNX files that replace INSwapper's and ArcFace's networks."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.core.arrays import ImageU8


def write_inswapper(path: Path, face: ImageU8) -> Path:
    """Write a graph that always draws `face`, (128, 128, 3)."""
    drawn = np.moveaxis(face.astype(np.float32) / 255, -1, 0)[None]
    # Half a grey level is added, so that truncation gives `face` exactly.
    initializers = [
        numpy_helper.from_array(drawn + np.float32(0.5 / 255), "face"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        numpy_helper.from_array(np.eye(512, dtype=np.float32), "emap"),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["target"], ["t"], keepdims=0),
        helper.make_node("ReduceSum", ["source"], ["s"], keepdims=0),
        helper.make_node("Add", ["t", "s"], ["both"]),
        helper.make_node("Mul", ["both", "zero"], ["nothing"]),
        helper.make_node("Add", ["face", "nothing"], ["output"]),
    ]
    inputs = [
        helper.make_tensor_value_info("target", TensorProto.FLOAT, [1, 3, 128, 128]),
        helper.make_tensor_value_info("source", TensorProto.FLOAT, [1, 512]),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 128, 128])
    return _save(path, nodes, inputs, output, initializers)


def write_arcface(path: Path) -> Path:
    """Write a graph that reduces the aligned face to 512 values."""
    weights = np.random.default_rng(0).normal(size=(3 * 7 * 7, 512)).astype(np.float32)
    nodes = [
        helper.make_node(
            "AveragePool", ["face"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
    ]
    inputs = [helper.make_tensor_value_info("face", TensorProto.FLOAT, [1, 3, 112, 112])]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 512])
    return _save(path, nodes, inputs, output, [numpy_helper.from_array(weights, "weights")])


def write_colours(path: Path) -> Path:
    """Write a graph of 7x7 colours minus their mean, which differ by the wall behind a person."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["grid"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("ReduceMean", ["grid"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Sub", ["grid", "mean"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 147])
    return _save(path, nodes, [x], y, [])


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    initializers: list[onnx.TensorProto],
) -> Path:
    graph = helper.make_graph(nodes, "tiny", inputs, [output], initializers)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path
