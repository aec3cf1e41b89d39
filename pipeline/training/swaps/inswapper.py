"""The real inswapper_128.onnx, and the ArcFace network that computes the source identity."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import onnxruntime

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.runtime.errors import WeightsError
from pipeline.training.swaps.pseudo_swap import Donor, FaceSwapper, Swap, paste
from pipeline.training.swaps.recipe import PasteKind, SwapRecipe
from pipeline.views.paste import SQUARE_PX, Matrix, arcface_square, paste_alpha_patch

ARCFACE_PX: Final = 112


class InswapperGenerator(FaceSwapper):
    """Swaps faces with the real inswapper_128.onnx (non-commercial; not part of this project).

    Follows insightface's INSwapper.get. The source identity is the donor's, or the target's own
    without a donor. The mask and the border are INSwapper's; the recipe is ignored.
    """

    def __init__(self, onnx_path: Path, embedder: "ArcfaceEmbedder") -> None:
        """Open the network; WeightsError names a file that is missing or no INSwapper network."""
        import onnx  # only needed here: the projection is an initializer of the graph

        self._session = _open_onnx(onnx_path, "the INSwapper network")
        self._embedder = embedder
        self._names = [node.name for node in self._session.get_inputs()]
        initializers = onnx.load(str(onnx_path)).graph.initializer
        if len(self._names) != 2 or not initializers:
            raise WeightsError(f"{onnx_path}: expected two inputs, got {self._names}")
        self._emap = onnx.numpy_helper.to_array(initializers[-1])

    def draw(self, rng: np.random.Generator, kind: PasteKind | None = None) -> SwapRecipe:  # noqa: ARG002
        """INSwapper's recipe, which has no randomness."""
        return SwapRecipe(use_donor=True)

    def apply(
        self,
        rgb: ImageU8,
        keypoints: FloatArray,
        recipe: SwapRecipe,  # noqa: ARG002
        donor: Donor | None = None,
    ) -> Swap:
        """Swap one face as `PseudoSwapper.apply` does; the network draws the face."""
        matrix = arcface_square(keypoints)
        aligned = cv2.warpAffine(rgb, matrix, (SQUARE_PX, SQUARE_PX), borderValue=0.0)
        blob = np.moveaxis(np.asarray(aligned, np.float32) / np.float32(255), -1, 0)[None]
        # Inputs: the face (1, 3, 128, 128) in [0, 1] and the latent identity (1, D).
        feeds = {self._names[0]: blob, self._names[1]: self._latent(donor or (rgb, keypoints))}
        drawn = np.asarray(self._session.run(None, feeds)[0][0])  # (3, 128, 128) in [0, 1]
        face = np.clip(255 * np.moveaxis(drawn, 0, -1), 0, 255).astype(np.uint8)
        alpha, rect = paste_alpha_patch(matrix, SQUARE_PX, (rgb.shape[0], rgb.shape[1]))
        return paste(rgb, face, matrix, alpha, rect, "square")

    def _latent(self, source: Donor) -> FloatArray:
        embedding = self._embedder.embed(*source)
        if embedding.shape[0] != self._emap.shape[0]:
            raise WeightsError(
                f"the embedding has {embedding.shape[0]} values, the INSwapper network expects"
                f" {self._emap.shape[0]} (buffalo_l's w600k_r50.onnx)"
            )
        latent = embedding[None] @ self._emap
        return np.asarray(latent / np.linalg.norm(latent), np.float32)


class ArcfaceEmbedder:
    """Identity embeddings of an ArcFace ONNX file (input 1x3x112x112, RGB, scaled to [-1, 1])."""

    def __init__(self, onnx_path: Path) -> None:
        """Open the network; WeightsError names a file that is missing or cannot be loaded."""
        self._session = _open_onnx(onnx_path, "the ArcFace network")
        self._name = self._session.get_inputs()[0].name

    def embed(self, rgb: ImageU8, keypoints: FloatArray) -> FloatArray:
        """Embed a face: rgb (H, W, 3) uint8, keypoints (5, 2) -> (D,) float32 of length 1."""
        matrix = _arcface_matrix(keypoints)
        aligned = cv2.warpAffine(rgb, matrix, (ARCFACE_PX, ARCFACE_PX), borderValue=0.0)
        scaled = (np.asarray(aligned, np.float32) - np.float32(127.5)) / np.float32(127.5)
        outputs = self._session.run(None, {self._name: np.moveaxis(scaled, -1, 0)[None]})
        embedding = np.asarray(outputs[0][0], np.float32)
        return np.asarray(embedding / np.linalg.norm(embedding), np.float32)


def _arcface_matrix(keypoints: FloatArray) -> Matrix:
    """(2, 3) frame -> ArcFace's 112-px square, which starts 8 px to the right of INSwapper's."""
    matrix = arcface_square(keypoints)
    matrix[0, 2] -= 8
    return matrix


def _open_onnx(path: Path, description: str) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise WeightsError(f"{path}: not found; {description} is not part of this project")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        raise WeightsError(f"{path}: cannot be loaded as an ONNX network ({error})") from error
