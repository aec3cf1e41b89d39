"""YOLO-face: boxes, keypoints, colours, and other models."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pipeline.faces.detector import find_faces
from pipeline.faces.load import load_detector
from pipeline.runtime.errors import DetectorError
from tests.support.tiny_graphs import save_graph, save_nodes


def yolo_rows() -> NDArray[np.float32]:
    """Two overlapping candidates of one face, a second face, and one below the threshold."""
    rows = np.zeros((1, 20, 8400), np.float32)
    points = [v for i in range(5) for v in (100 + 10 * i, 200 + 10 * i, 0.9)]
    rows[0, :, 7] = [120, 220, 80, 100, 0.8, *points]
    rows[0, :5, 8] = [122, 221, 80, 100, 0.7]
    rows[0, :5, 4000] = [400, 100, 40, 60, 0.6]
    rows[0, :5, 8399] = [300, 300, 40, 60, 0.4]
    return rows


def test_yolo_boxes_and_keypoints_are_scaled_back_to_the_image(tmp_path: Path) -> None:
    save_graph(tmp_path / "yolo.onnx", [1, 3, 640, 640], yolo_rows())
    detector = load_detector("yolo_face", model_file=str(tmp_path / "yolo.onnx"))
    faces = find_faces(
        detector, np.zeros((200, 320, 3), np.uint8), min_score=0.5, min_face_px=1, max_faces=9
    )
    assert [face.box_xyxy.tolist() for face in faces] == [[40, 85, 80, 135], [190, 35, 210, 65]]
    assert [round(face.score, 6) for face in faces] == [0.8, 0.6]
    expected = [[50 + 5 * i, 100 + 5 * i] for i in range(5)]
    np.testing.assert_allclose(np.asarray(faces[0].keypoints), expected)


def test_yolo_models_without_keypoints_are_supported(tmp_path: Path) -> None:
    save_graph(tmp_path / "yolo.onnx", [1, 3, 640, 640], yolo_rows()[:, :5])
    faces = load_detector("yolo_face", model_file=str(tmp_path / "yolo.onnx")).detect(
        np.zeros((640, 640, 3), np.uint8)
    )
    assert [face.keypoints for face in faces] == [None, None]


def test_yolo_gets_red_green_blue_from_0_to_1(tmp_path: Path) -> None:
    """The graph returns the image's brightest red, green and blue as cx, cy and width."""
    constants = [
        numpy_helper.from_array(np.array([1, 3, 1], np.int64), "shape"),
        numpy_helper.from_array(np.array([[[100], [0.9]]], np.float32), "rest"),
        numpy_helper.from_array(np.array(255, np.float32), "gain"),
    ]
    nodes = [
        helper.make_node("GlobalMaxPool", ["images"], ["brightest"]),
        helper.make_node("Reshape", ["brightest", "shape"], ["rows"]),
        helper.make_node("Mul", ["rows", "gain"], ["scaled"]),
        helper.make_node("Concat", ["scaled", "rest"], ["output"], axis=1),
    ]
    save_nodes(tmp_path / "yolo.onnx", [1, 3, 64, 64], nodes, [1, 5, 1], constants)
    rgb = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    (face,) = load_detector("yolo_face", model_file=str(tmp_path / "yolo.onnx")).detect(rgb)
    np.testing.assert_allclose(face.box_xyxy, [175, 50, 225, 150], atol=1e-3)


@pytest.mark.parametrize("model_file", ["", "nowhere/yolo.onnx"])
def test_yolo_without_a_model_reports_what_is_required(model_file: str) -> None:
    with pytest.raises(DetectorError, match=r"model_file: yolo_face needs.*\.onnx"):
        load_detector("yolo_face", model_file=model_file)


def test_other_onnx_models_are_rejected(tmp_path: Path) -> None:
    save_graph(tmp_path / "net.onnx", [1, 3, 64, 64], np.zeros((1, 84, 10), np.float32))
    with pytest.raises(DetectorError, match="has 84 rows"):
        load_detector("yolo_face", model_file=str(tmp_path / "net.onnx"))
