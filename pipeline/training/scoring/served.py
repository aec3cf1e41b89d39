"""The network that calibration and evaluation run: on a processor, the graph that is served."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from pipeline.bundle.session import open_session, run_session
from pipeline.runtime.params import Params
from pipeline.seam.trees import read_trees
from pipeline.training.network.checkpoint import CheckpointMeta, load_detector
from pipeline.training.network.hardware import device_name
from pipeline.training.network.model import HEADS
from pipeline.training.network.onnx_export import CPU, export_onnx
from pipeline.training.scoring.scorer import Scorer


class ServedNetwork(nn.Module):
    """An ONNX detector behind torch's interface.

    It takes a third of torch's time on a processor, since convolutions, normalisations and
    activations are fused (mobilenetv2_100: 20 instead of 68 ms of processor time a crop).
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        super().__init__()
        self._session = session

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        inputs = np.ascontiguousarray(crops.cpu().numpy())
        logits = run_session(self._session, inputs, list(HEADS))
        return {head: torch.from_numpy(values) for head, values in logits.items()}


def load_scorer(checkpoint: Path, trees: Path, params: Params) -> Scorer:
    """The trained network and the seam's trees. Raises as `load_network`."""
    network, meta = load_network(checkpoint, params)
    return Scorer(network, meta.preprocess, read_trees(trees))


def load_network(checkpoint: Path, params: Params) -> tuple[nn.Module, CheckpointMeta]:
    """A trained detector ready to score, in its fastest faithful form.

    With a GPU ($INSWAPPER_DEVICE, else where torch finds one) it is torch's network there; without,
    its exported graph on train.threads threads. Raises WeightsError or BundleError.
    """
    model, meta = load_detector(checkpoint)
    device = device_name()
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return model.to("cuda"), meta
    exported = export_onnx(model, meta.preprocess, params.export.opset)
    session = open_session(exported, params.train.threads, CPU, str(checkpoint))
    return ServedNetwork(session).eval(), meta
