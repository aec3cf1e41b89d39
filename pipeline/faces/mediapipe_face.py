"""MediaPipe's face detector (BlazeFace), with a model file supplied by the user."""

from pathlib import Path

import numpy as np

from pipeline.core.arrays import ImageU8
from pipeline.faces.detector import Face
from pipeline.runtime.errors import DetectorError


class MediapipeDetector:
    """Detector on MediaPipe's tasks API.

    It gives no keypoints, because BlazeFace has only one point for the mouth.
    """

    name = "mediapipe"

    def __init__(self, model_file: str, min_score: float) -> None:
        """Raises DetectorError when mediapipe is not installed or the model file is missing."""
        try:
            import mediapipe
        except ImportError:
            raise DetectorError(
                "crop_faces.detector: mediapipe is not installed; pip install '.[mediapipe]'"
            ) from None
        if not model_file or not Path(model_file).is_file():
            raise DetectorError(
                "crop_faces.model_file: mediapipe needs a face detector .tflite file,"
                f" got {model_file!r}"
            )
        tasks = mediapipe.tasks
        options = tasks.vision.FaceDetectorOptions(
            base_options=tasks.BaseOptions(model_asset_path=model_file),
            min_detection_confidence=min_score,
        )
        self._image = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB
        self._detector = tasks.vision.FaceDetector.create_from_options(options)

    def detect(self, rgb: ImageU8) -> list[Face]:
        image = self._image(image_format=self._format, data=np.ascontiguousarray(rgb))
        faces = []
        for found in self._detector.detect(image).detections:
            box = found.bounding_box
            corners = [
                box.origin_x,
                box.origin_y,
                box.origin_x + box.width,
                box.origin_y + box.height,
            ]
            faces.append(
                Face(np.array(corners, np.float32), None, float(found.categories[0].score))
            )
        return faces
