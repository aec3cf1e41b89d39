"""ONNX Runtime sessions of the detectors: always on the CPU, so that no GPU changes a result."""

from pathlib import Path

import onnxruntime

PROVIDERS = ["CPUExecutionProvider"]
ERRORS_ONLY = 3


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options for `threads` threads within a session.

    Idle threads sleep: spinning doubles the processor time of a request.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(model: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    """A session on the content of an ONNX file or on its path."""
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, session_options(threads), providers=PROVIDERS)
