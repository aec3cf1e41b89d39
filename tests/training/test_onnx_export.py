import onnx
import pytest
import torch
from torch import Tensor, nn

from pipeline.bundle.session import golden_crops, open_session, run_session
from pipeline.core.arrays import FloatArray
from pipeline.runtime.errors import BundleError
from pipeline.training.network.model import HEADS
from pipeline.training.network.onnx_export import (
    CPU,
    export_onnx,
    quantise,
    require_parity,
    strip,
    torch_logits,
)
from tests.support.face_stores import PREPROCESS


class SmallNet(nn.Module):
    """A convolution, a mean and one linear layer per head, with weights from a seed."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(3, 16, 8, stride=8)
        self.hidden = nn.Linear(16, 32)
        self.flat = nn.Linear(32, 3)
        self.quality = nn.Linear(32, 3)
        self.map = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = torch.relu(self.stem(x))
        hidden = torch.relu(self.hidden(maps.mean(dim=(2, 3))))
        flat = self.flat(hidden)
        seam = nn.functional.interpolate(self.map(maps), (32, 32), mode="bilinear")
        return {
            "real_fake": flat[:, 0],
            "inswapper": flat[:, 1],
            "boundary": flat[:, 2],
            "quality": self.quality(hidden),
            "seam_map": seam.squeeze(1),
        }


def inputs(count: int) -> FloatArray:
    return PREPROCESS.to_input(golden_crops(count, PREPROCESS.size_px))


@pytest.fixture(scope="module")
def net() -> SmallNet:
    return SmallNet().eval()


@pytest.fixture(scope="module")
def exported(net: SmallNet) -> bytes:
    return export_onnx(net, PREPROCESS, opset=18)


def test_onnxruntime_equals_torch_for_any_batch_size(net: SmallNet, exported: bytes) -> None:
    session = open_session(exported, 1, CPU, "small")
    assert [node.name for node in session.get_outputs()] == list(HEADS)
    assert require_parity(net, session, [inputs(1), inputs(7)]) < 1e-5
    found = run_session(session, inputs(7), list(HEADS))
    assert found["seam_map"].shape == (7, 32, 32)
    assert found["quality"] == pytest.approx(torch_logits(net, inputs(7))["quality"], abs=1e-5)


def test_a_different_network_fails_the_parity_check(exported: bytes) -> None:
    session = open_session(exported, 1, CPU, "small")
    with pytest.raises(BundleError, match=r"onnxruntime differs from torch by .* at most 0\.0001"):
        require_parity(SmallNet(seed=1).eval(), session, [inputs(2)])


def test_the_file_contains_no_paths_or_versions_of_this_machine(exported: bytes) -> None:
    for trace in (b"site-packages", b".py", str(torch.__version__).encode(), b"/home", b"/tmp"):
        assert trace not in exported
    proto = onnx.load_from_string(exported)
    assert proto.opset_import[0].version == 18
    assert not any(node.doc_string or node.metadata_props for node in proto.graph.node)


def test_strip_removes_notes_and_keeps_the_computation() -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"], doc_string="/home/someone/model.py")
    node.metadata_props.add(key="stack_trace", value="File model.py")
    values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], doc_string="note")
    model = onnx.helper.make_model(graph, producer_version="9")
    strip(model)
    assert b"someone" not in model.SerializeToString()
    assert b"stack_trace" not in model.SerializeToString()
    assert model.graph.node[0].op_type == "Relu"


def test_the_quantised_copy_is_close_and_reproducible(
    net: SmallNet, exported: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    small = quantise(exported)
    assert small == quantise(exported)
    assert "MatMulInteger" in {node.op_type for node in onnx.load_from_string(small).graph.node}
    found = run_session(open_session(small, 1, CPU, "int8"), inputs(4), list(HEADS))
    expected = torch_logits(net, inputs(4))
    assert found["real_fake"] == pytest.approx(expected["real_fake"], abs=0.03)
    assert (found["real_fake"] != expected["real_fake"]).any()
    assert not caplog.records
