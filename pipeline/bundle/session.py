"""Running an ONNX detector, and the golden crops that verify its outputs.

A bundle contains no images of people: its golden crops are drawn with integer arithmetic.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.onnx_sessions import session_options
from pipeline.decision.fusion import Finite
from pipeline.runtime.errors import BundleError
from pipeline.runtime.sections import StrictModel
from pipeline.views.preprocess import Preprocess

INPUT: Final = "crops"
SEAM_HEAD: Final = "seam_map"
SEAM_POOL: Final = 4
# Batching does not raise throughput on a CPU (28.7 images/s one by one, 24.6 in batches of 16).
CHUNK: Final = 4

Logits = dict[str, FloatArray]


class GoldenOutputs(StrictModel):
    """Logits of the golden crops, in order; each seam map as means of a 4x4 grid, row by row."""

    real_fake: list[Finite]
    inswapper: list[Finite]
    boundary: list[Finite]
    quality: list[list[Finite]]
    seam_map: list[list[Finite]]


def open_session(
    model: bytes, threads: int, providers: Sequence[str], label: str
) -> onnxruntime.InferenceSession:
    """Open an ONNX Runtime session from a model's bytes.

    label: names the file in errors. Raises BundleError when onnxruntime cannot load the model.
    """
    options = session_options(threads)
    # The arena would keep 1 GB after one large batch.
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(model, options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise BundleError(f"{label}: onnxruntime cannot load it: {_first_line(error)}") from None


def run_session(
    session: onnxruntime.InferenceSession, inputs: FloatArray, heads: Sequence[str]
) -> Logits:
    """(n, 3, S, S) float32 -> logits per head, in chunks; BundleError when one is not finite."""
    parts = [
        session.run(list(heads), {INPUT: inputs[start : start + CHUNK]})
        for start in range(0, len(inputs), CHUNK)
    ]
    logits = {head: np.concatenate([part[k] for part in parts]) for k, head in enumerate(heads)}
    broken = sorted(head for head, values in logits.items() if not np.isfinite(values).all())
    if broken:
        raise BundleError(f"the model's outputs are not finite: {', '.join(broken)}")
    return logits


def golden_crops(count: int, size_px: int) -> ImageU8:
    """(count, size, size, 3) uint8 slanted ramps with a texture, the same on every machine.

    Drawn with integer arithmetic, because random generators may change between numpy versions and
    images of people do not belong in a bundle.
    """
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.uint32)
    crops = np.empty((count, size_px, size_px, 3), dtype=np.uint8)
    for index in range(count):
        for channel in range(3):
            ramp = (columns * (index + channel + 1) + rows * (2 * index + 3 - channel)) >> 3
            key = np.uint32((index * 83492791 + channel) % 2**32)
            mixed = (columns * 73856093) ^ (rows * 19349663) ^ key
            crops[index, :, :, channel] = (ramp + ((mixed >> 13) & 31)) & 255
    return crops


def golden_outputs(
    session: onnxruntime.InferenceSession, preprocess: Preprocess, count: int, heads: Sequence[str]
) -> GoldenOutputs:
    """Outputs of a session for `count` golden crops."""
    inputs = preprocess.to_input(golden_crops(count, preprocess.size_px))
    logits = run_session(session, inputs, heads)
    logits[SEAM_HEAD] = _pooled(logits[SEAM_HEAD])
    return GoldenOutputs(**{head: values.tolist() for head, values in logits.items()})


def _pooled(seam_maps: FloatArray) -> FloatArray:
    """(n, side, side) -> (n, 16): means of a 4x4 grid, enough to detect a changed map."""
    count, side = seam_maps.shape[:2]
    cell = side // SEAM_POOL
    grid = seam_maps.reshape(count, SEAM_POOL, cell, SEAM_POOL, cell)  # (n, 4, cell, 4, cell)
    means: NDArray[np.float32] = grid.mean(axis=(2, 4)).reshape(count, -1)  # (n, 16)
    return means


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
