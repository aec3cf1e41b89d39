"""Export of a trained network to ONNX, with equal bytes on every run and a parity check."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from pipeline.bundle.session import INPUT, Logits, run_session
from pipeline.core.arrays import FloatArray
from pipeline.runtime.errors import BundleError
from pipeline.training.network.model import HEADS
from pipeline.views.preprocess import Preprocess

PARITY = 1e-4
CPU = ("CPUExecutionProvider",)


class _InOrder(nn.Module):
    """The detector with its heads as a tuple, because ONNX outputs are ordered."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(crops)
        return tuple(outputs[head] for head in HEADS)


def export_onnx(model: nn.Module, preprocess: Preprocess, opset: int) -> bytes:
    """Export a detector in eval mode to ONNX: input crops (n, 3, size, size), one output per head.

    Raises BundleError if the result is not valid ONNX.
    """
    example = torch.zeros(2, 3, preprocess.size_px, preprocess.size_px)
    program = torch.onnx.export(
        _InOrder(model).eval(),
        (example,),
        dynamo=True,
        opset_version=opset,
        input_names=[INPUT],
        output_names=list(HEADS),
        dynamic_shapes={INPUT: {0: torch.export.Dim("n", min=1, max=4096)}},
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise BundleError("torch.onnx.export returned no program")
    proto = program.model_proto
    strip(proto)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise BundleError(f"the exported graph is not valid ONNX: {error}") from error
    return bytes(proto.SerializeToString(deterministic=True))


def strip(proto: onnx.ModelProto) -> None:
    """Remove the exporter's notes: versions, and stack traces with paths of this machine."""
    proto.producer_version = ""
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = proto.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def quantise(model: bytes) -> bytes:
    """Quantise a copy: int8 weights per channel in matrix products, activations at run time.

    Weights use 7 bits. With 8 bits, 16-bit sums overflow on processors without VNNI, whose results
    then differ from those of processors with it.
    """
    with TemporaryDirectory() as folder:
        source, shaped, target = (Path(folder) / name for name in ("fp32", "shaped", "int8"))
        source.write_bytes(model)
        quant_pre_process(source, shaped, skip_optimization=True, skip_symbolic_shape=True)
        quantize_dynamic(
            shaped,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        proto = onnx.load(target)
    strip(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def torch_logits(model: nn.Module, inputs: FloatArray) -> Logits:
    """Logits per head of network inputs (n, 3, S, S) float32, computed by torch on the CPU."""
    with torch.inference_mode():
        outputs = model(torch.from_numpy(inputs))
    return {head: outputs[head].numpy() for head in HEADS}


def require_parity(
    model: nn.Module, session: onnxruntime.InferenceSession, batches: Sequence[FloatArray]
) -> float:
    """Largest difference between torch and onnxruntime over all heads; relative for values above 1.

    Raises BundleError if it exceeds 1e-4.
    """
    worst = 0.0
    for inputs in batches:
        expected = torch_logits(model, inputs)
        found = run_session(session, inputs, list(HEADS))
        for head in HEADS:
            scale = np.maximum(1.0, np.abs(expected[head]))
            worst = max(worst, float((np.abs(found[head] - expected[head]) / scale).max()))
    if not worst <= PARITY:
        raise BundleError(
            f"onnxruntime differs from torch by {worst:.3g}; at most {PARITY:g} is accepted"
        )
    return worst
