"""Loading a face detector by its name in params.yaml."""

from pathlib import Path

from pipeline.faces.detector import FaceDetector
from pipeline.faces.retinaface_pack import PACK_NAME
from pipeline.runtime.errors import DetectorError


def load_detector(
    name: str,
    *,
    pack: str = PACK_NAME,
    model_file: str = "",
    min_score: float = 0.5,
    threads: int = 1,
) -> FaceDetector:
    """Load a face detector; its libraries are imported only here.

    name: insightface | retinaface | mediapipe | yolo_face | opencv_haar. pack: model pack of
    insightface. model_file: model of mediapipe (.tflite) and yolo_face (.onnx). min_score: in
    [0, 1]; the detector itself drops faces below it. threads: number of threads for one ONNX
    Runtime call; affects speed only. Raises DetectorError for an unknown name or a model that
    cannot be loaded.
    """
    if name == "insightface":
        from pipeline.faces.scrfd_pack import ScrfdPackDetector

        return ScrfdPackDetector(pack, min_score, threads)
    if name == "retinaface":
        from pipeline.faces.scrfd_pack import ScrfdPackDetector

        return ScrfdPackDetector(PACK_NAME, min_score, threads, name)
    if name == "mediapipe":
        from pipeline.faces.mediapipe_face import MediapipeDetector

        return MediapipeDetector(model_file, min_score)
    if name == "yolo_face":
        from pipeline.faces.yolo_face import YoloFaceDetector

        return YoloFaceDetector(model_file, min_score, threads)
    if name == "opencv_haar":
        from pipeline.faces.opencv_haar import HaarDetector

        return HaarDetector()
    raise DetectorError(
        f"crop_faces.detector: {name!r} is unknown; expected insightface, retinaface, mediapipe,"
        " yolo_face or opencv_haar"
    )


def model_files(name: str, *, pack: str, model_file: str) -> list[Path]:
    """Model files of a detector that are not part of an installed package.

    Arguments are those of `load_detector`. Raises DetectorError when a pack is missing.
    """
    if name == "insightface":
        from pipeline.faces.scrfd_pack import pack_path

        return sorted(pack_path(pack).glob("*.onnx"))
    return [Path(model_file)] if model_file else []
