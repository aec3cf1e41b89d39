"""The scorer of calibration and evaluation: on a CPU it runs the graph that is served."""

from functools import partial
from pathlib import Path

import torch

from pipeline.bundle.session import open_session, run_session
from pipeline.decision.scorer import FaceScorer
from pipeline.runtime.params import Params
from pipeline.seam.trees import TreeEnsemble, read_trees
from pipeline.training.network.checkpoint import load_detector
from pipeline.training.network.hardware import device_name
from pipeline.training.network.model import HEADS
from pipeline.training.network.onnx_export import CPU, export_onnx
from pipeline.training.scoring.scorer import torch_network


def load_scorer(checkpoint: Path, trees: Path | None, params: Params) -> FaceScorer:
    """A trained detector in its fastest faithful form; trees: file of the seam trees, if any.

    With a GPU ($INSWAPPER_DEVICE, else if torch finds one) torch runs the network there. Without,
    onnxruntime runs its exported graph on train.threads threads: fused operators take a third of
    torch's time (mobilenetv2_100: 20 instead of 68 ms of processor time per crop).
    Raises WeightsError, BundleError or, for the variable, PipelineError.
    """
    model, meta = load_detector(checkpoint)
    ensemble: TreeEnsemble | None = None if trees is None else read_trees(trees)
    device = device_name()
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return FaceScorer(torch_network(model.to("cuda")), meta.preprocess, ensemble)
    exported = export_onnx(model, meta.preprocess, params.export.opset)
    session = open_session(exported, params.train.threads, CPU, str(checkpoint))
    return FaceScorer(partial(run_session, session, heads=HEADS), meta.preprocess, ensemble)
