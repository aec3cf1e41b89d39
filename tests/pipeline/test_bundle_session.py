import hashlib

import numpy as np
import pytest

from pipeline.bundle.session import CHUNK, golden_crops, golden_outputs, open_session, run_session
from pipeline.runtime.errors import BundleError
from pipeline.views.preprocess import Preprocess
from tests.support.bundles import HEADS, tiny_graph

SIZE = 64
CPU = ["CPUExecutionProvider"]


def test_long_inputs_are_run_in_chunks_and_returned_in_order() -> None:
    session = open_session(tiny_graph(SIZE), 1, CPU, "tiny")
    inputs = np.arange(2 * CHUNK + 1, dtype=np.float32)[:, None, None, None]
    inputs = np.broadcast_to(inputs, (len(inputs), 3, SIZE, SIZE))
    found = run_session(session, np.ascontiguousarray(inputs), list(HEADS))
    assert found["real_fake"] == pytest.approx(np.arange(2 * CHUNK + 1))
    assert found["seam_map"].shape == (2 * CHUNK + 1, 32, 32)


def test_a_file_that_is_not_a_graph_is_named() -> None:
    with pytest.raises(BundleError, match="tiny: onnxruntime cannot load it"):
        open_session(b"text", 1, CPU, "tiny")


def test_golden_outputs_contain_a_coarse_seam_map() -> None:
    session = open_session(tiny_graph(SIZE), 1, CPU, "tiny")
    found = golden_outputs(session, Preprocess(size_px=SIZE), 2, list(HEADS))
    full = run_session(
        session, Preprocess(size_px=SIZE).to_input(golden_crops(2, SIZE)), list(HEADS)
    )["seam_map"]
    assert np.shape(found.seam_map) == (2, 16)
    assert found.seam_map[1][5] == pytest.approx(full[1, 8:16, 8:16].mean(), abs=1e-5)


def test_golden_crops_are_fixed_and_have_contrast() -> None:
    crops = golden_crops(60, SIZE)
    assert crops.shape == (60, SIZE, SIZE, 3)
    digest = hashlib.sha256(golden_crops(2, 256).tobytes()).hexdigest()
    assert digest[:16] == "f0b61343aa6dfdf3"
    assert len({crop.tobytes() for crop in crops}) == 60
    assert crops.std(axis=(1, 2, 3)).min() > 8
