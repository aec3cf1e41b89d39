"""The served detector, and the same detector with its networks in torch or default sessions."""

import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx2torch
import onnxruntime
import torch
from loky import cpu_count

from pipeline.bundle.load import Bundle
from pipeline.bundle.session import Logits
from pipeline.core.arrays import FloatArray
from pipeline.core.onnx_sessions import PROVIDERS
from pipeline.faces.scrfd_pack import ScrfdPackDetector
from pipeline.runtime.params import load_params
from pipeline.training.network.model import build_model
from serve.detector.inference import SwapDetector, load_swap_detector
from serve.settings import load_settings


def served() -> SwapDetector:
    """The detector as serve.predict loads it for one input. Raises BundleError, DetectorError."""
    return load_swap_detector(load_settings(), cpu_count())


@dataclass(frozen=True)
class TorchBundle(Bundle):
    """The bundle's trees and decision, with the network of params.yaml in torch's eager mode.

    Its weights are random, which does not affect the duration.
    """

    network: Any = None

    def predict(self, inputs: FloatArray) -> Logits:
        with torch.inference_mode():
            outputs = self.network(torch.from_numpy(np.ascontiguousarray(inputs)))
        return {name: values.numpy() for name, values in outputs.items()}


class TorchSession:
    """An ONNX file in torch's eager mode, with the part of a session that insightface uses."""

    def __init__(self, path: Path) -> None:
        with TemporaryDirectory() as folder:
            # onnx2torch needs initialisers; the basic level replaces constants by them.
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = str(Path(folder) / "basic.onnx")
            onnxruntime.InferenceSession(str(path), options, providers=PROVIDERS)
            self._network = onnx2torch.convert(options.optimized_model_filepath).eval()

    def run(self, _names: list[str], feed: dict[str, FloatArray]) -> list[FloatArray]:
        (blob,) = feed.values()
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # from onnx2torch's slices
            return [values.numpy() for values in self._network(torch.from_numpy(blob))]


def in_torch(detector: SwapDetector) -> SwapDetector:
    """The same detector with both networks in torch, on all cores.

    Raises TypeError if the face detector is not insightface's.
    """
    face_detector = insightface_detector()
    model = face_detector._model
    model.session = TorchSession(Path(model.model_file))
    model.static_shape_sessions = False  # otherwise each size gets its own onnxruntime session
    return replace(detector, bundle=torch_bundle(detector.bundle), face_detector=face_detector)


def torch_bundle(bundle: Bundle) -> TorchBundle:
    """The same bundle with its network in torch, on all cores."""
    torch.set_num_threads(cpu_count())
    network = build_model(load_params().model, bundle.spec.preprocess).eval()
    parts = {field.name: getattr(bundle, field.name) for field in fields(Bundle)}
    return TorchBundle(**parts, network=network)


def by_default_sessions(detector: SwapDetector) -> SwapDetector:
    """The same detector with onnxruntime's default sessions for network and face detector.

    Raises TypeError if the face detector is not insightface's.
    """
    bundle = detector.bundle
    network = bundle.directory / bundle.spec.models[bundle.precision]
    face_detector = insightface_detector()
    model = face_detector._model
    model.session = default_session(Path(model.model_file))
    return replace(
        detector,
        bundle=replace(bundle, session=default_session(network)),
        face_detector=face_detector,
    )


def insightface_detector() -> ScrfdPackDetector:
    """A new face detector, whose session can be replaced."""
    face_detector = load_swap_detector(load_settings(), cpu_count()).face_detector
    if not isinstance(face_detector, ScrfdPackDetector):
        raise TypeError("INSWAPPER_FACE_DETECTOR: expected insightface for this comparison")
    return face_detector


def default_session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=PROVIDERS)
