"""ONNX Runtime sessions for the detectors. They run on the CPU so that no GPU changes a result."""

from pathlib import Path

import onnxruntime

from pipeline.runtime.portable import is_portable

PROVIDERS = ["CPUExecutionProvider"]
ERRORS_ONLY = 3


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Session options for `threads` intra-op threads.

    Idle threads sleep instead of spinning, which would double the CPU time of a request. In stages
    (pipeline.runtime.portable) tensors keep their plain layout: the blocked one is a quarter
    faster, but the size of its blocks, and so the order of sums, depends on the processor.
    """
    options = onnxruntime.SessionOptions()
    if is_portable():
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(model: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a session from the bytes of an ONNX file or from its path."""
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, session_options(threads), providers=PROVIDERS)
