"""InsightFace's FaceAnalysis on a pack folder: the embedded RetinaFace pack or another one."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.core.arrays import ImageU8
from pipeline.core.onnx_sessions import PROVIDERS, session_options
from pipeline.faces.detector import Face, input_shape, letterbox
from pipeline.faces.retinaface_pack import PACK_NAME, build_pack
from pipeline.runtime.errors import DetectorError


class ScrfdPackDetector:
    """SCRFD through `insightface.app.FaceAnalysis`, detection only."""

    def __init__(
        self, pack: str, min_score: float, threads: int = 1, name: str = "insightface"
    ) -> None:
        """pack: name of the embedded pack, or an argument of `pack_folder`. name: for manifests.

        Raises DetectorError when the pack is missing or contains no detector; never downloads one.
        """
        self.name = name
        self._model = _load_detection(pack_path(pack), threads)
        self._model.prepare(-1, det_thresh=min_score)

    def detect(self, rgb: ImageU8) -> list[Face]:
        height, width = input_shape(rgb.shape)
        # insightface would resize without area averaging, and it fails on very long images.
        boxed, scale = letterbox(rgb, width, height)
        bgr = cv2.cvtColor(boxed, cv2.COLOR_RGB2BGR)
        boxes, keypoints = self._model.detect(bgr, input_size=(width, height))
        points = [None] * len(boxes) if keypoints is None else keypoints / np.float32(scale)
        return [
            Face(box[:4] / np.float32(scale), kps, float(np.clip(box[4], 0, 1)))
            for box, kps in zip(boxes, points, strict=True)
        ]


def pack_path(pack: str) -> Path:
    """Folder of a pack; the embedded one is built at first use. Raises DetectorError."""
    return build_pack() if pack == PACK_NAME else pack_folder(pack)


def pack_folder(pack: str) -> Path:
    """Existing folder of a pack: $INSWAPPER_PACKS/pack, ~/.insightface/models/pack or `pack`.

    Raises DetectorError naming every folder that was searched.
    """
    configured = os.environ.get("INSWAPPER_PACKS", "")
    folders = [Path(configured) / pack] if configured else []
    folders += [Path.home() / ".insightface" / "models" / pack, Path(pack).expanduser()]
    for folder in folders:
        if any(folder.glob("*.onnx")):
            return folder
    searched = ", ".join(str(folder) for folder in folders)
    raise DetectorError(
        f"crop_faces.pack: no folder with ONNX files for pack {pack!r}; searched {searched}."
        f" Use {PACK_NAME!r} (embedded, MIT), or unpack an InsightFace pack there yourself and set"
        " INSWAPPER_PACKS to its parent folder; nothing is downloaded, and the buffalo_* packs are"
        " for non-commercial research only"
    )


def _load_detection(folder: Path, threads: int) -> Any:
    """Load the detection model of a pack, dropping what insightface prints while it loads."""
    # Without this entry insightface imports its mask renderer, and with it albumentations and torch
    # if they are installed: an unnecessary 1.7 s and some 300 MB per process. insightface handles
    # the missing module.
    sys.modules.setdefault("insightface.app.mask_renderer", None)  # type: ignore[arg-type]
    from insightface.app import FaceAnalysis

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            analysis = FaceAnalysis(
                name=str(folder),
                allowed_modules=["detection"],
                providers=PROVIDERS,
                sess_options=session_options(threads),
            )
    except AssertionError:
        raise DetectorError(
            f"{folder}: contains no face detector; a SCRFD or RetinaFace ONNX file is required"
        ) from None
    return analysis.det_model
