"""Networks of a photo import, each opened once per process."""

from functools import cache
from pathlib import Path

from pipeline.faces.detector import FaceDetector
from pipeline.faces.load import load_detector
from pipeline.runtime.errors import PipelineError
from pipeline.training.photos.params import PhotoImportParams
from pipeline.training.swaps.inswapper import ArcfaceEmbedder, InswapperGenerator


def open_models(params: PhotoImportParams) -> None:
    """Open all models, so that a missing one fails before the work starts.

    Raises PipelineError for options without a required one, WeightsError or DetectorError for a
    model that cannot be loaded.
    """
    if params.exclude and params.embedder is None:
        raise PipelineError("--exclude: needs --embedder, the ONNX file that compares faces")
    if params.inswapper is not None:
        if params.embedder is None:
            raise PipelineError(
                "--inswapper: needs --embedder, the ArcFace network for its identities (buffalo_l's"
                " w600k_r50.onnx)"
            )
        generator_of(params.inswapper, params.embedder)
    detector_of(params.detector, params.pack, params.min_score)
    if params.embedder is not None:
        embedder_of(params.embedder)


@cache
def detector_of(name: str, pack: str, min_score: float) -> FaceDetector:
    """One detector per process, with one thread, so that workers do not compete for cores."""
    return load_detector(name, pack=pack, min_score=min_score, threads=1)


@cache
def embedder_of(path: Path) -> ArcfaceEmbedder:
    return ArcfaceEmbedder(path)


@cache
def generator_of(path: Path, embedder: Path) -> InswapperGenerator:
    return InswapperGenerator(path, embedder_of(embedder))
