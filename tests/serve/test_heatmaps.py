"""serve.detector.heatmaps: the corners of a view are where its pixels came from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.faces.detector import Face
from pipeline.runtime.errors import DetectorError
from pipeline.views.cut import cut_view
from pipeline.views.paste import TEMPLATE
from pipeline.views.preprocess import Preprocess
from serve.detector.heatmaps import overlay, seam_map_of, view_corners
from serve.main import create_app
from serve.settings import Settings
from tests.support.bundles import write_bundle
from tests.support.synthetic import draw_clip, draw_face, encoded_png, write_clip

PREPROCESS = Preprocess(size_px=128, scales=(1.1, 1.5), aligned=True)
ALIGNED = 2


def turned_face(scale: float, degrees: float, x: float, y: float) -> Face:
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (TEMPLATE - 63.5) @ matrix.T + [x, y]
    half = 50 * scale
    box = np.array([x - half, y - half, x + half, y + half], np.float32)
    return Face(box, np.asarray(points, np.float32), 1.0)


def seen_through_corners(rgb: ImageU8, corners: FloatArray, size_px: int) -> ImageU8:
    """The area between four corners of an image, warped to a square independently of cut_view."""
    # OpenCV's origin is the centre of the first pixel, that of the corners its edge.
    target = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * size_px - 0.5
    matrix = cv2.getPerspectiveTransform(np.asarray(corners - 0.5, np.float32), target.astype("f4"))
    flags = cv2.INTER_CUBIC
    border = cv2.BORDER_REFLECT_101
    warped = cv2.warpPerspective(rgb, matrix, (size_px, size_px), flags=flags, borderMode=border)
    return np.asarray(warped, np.uint8)


@pytest.mark.parametrize("index", [0, 1, ALIGNED])
@pytest.mark.parametrize(
    ("scale", "degrees", "x", "y"), [(0.9, 0, 200, 190), (1.3, 25, 210, 200), (1.0, -60, 180, 220)]
)
def test_the_area_between_the_corners_is_the_view(
    index: int, scale: float, degrees: float, x: float, y: float
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 420, 3), dtype=np.uint8)
    rgb = np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), np.uint8)
    face = turned_face(scale, degrees, x, y)
    view = cut_view(PREPROCESS, index, rgb, face.box_xyxy, face.keypoints).astype(int)
    corners = view_corners(PREPROCESS, index, face)
    seen = seen_through_corners(rgb, corners, PREPROCESS.size_px).astype(int)
    # A shift of one pixel more than doubles the difference.
    shifted = seen_through_corners(rgb, corners + 1, PREPROCESS.size_px).astype(int)
    assert np.abs(seen - view).mean() < 0.8
    assert np.abs(shifted - view).mean() > 2 * np.abs(seen - view).mean()


def test_a_mark_in_a_corner_of_the_view_is_at_the_corner() -> None:
    face = turned_face(1.2, 25, 300, 280)
    top_left, top_right, bottom_right, bottom_left = view_corners(PREPROCESS, ALIGNED, face)
    inwards = (bottom_right - top_left) / 16
    rgb = np.zeros((560, 600, 3), np.uint8)
    cv2.circle(rgb, np.round(top_left + inwards).astype(int).tolist(), 4, (255, 255, 255), -1)
    view = cut_view(PREPROCESS, ALIGNED, rgb, face.box_xyxy, face.keypoints)
    rows, columns = np.nonzero(view[..., 0] > 127)
    assert abs(rows.mean() - 7.5) < 1
    assert abs(columns.mean() - 7.5) < 1
    np.testing.assert_allclose(top_right + bottom_left, top_left + bottom_right, atol=1e-2)
    # 25 degrees clockwise, since y points down in an image.
    right = top_right - top_left
    assert np.degrees(np.arctan2(right[1], right[0])) == pytest.approx(25, abs=0.01)


def test_the_aligned_view_needs_keypoints() -> None:
    face = Face(np.array([0, 0, 9, 9], np.float32), None, 1.0)
    with pytest.raises(DetectorError, match="keypoints"):
        view_corners(PREPROCESS, ALIGNED, face)


def test_the_service_adds_the_map_when_asked(tmp_path: Path) -> None:
    image = draw_face(3, height=260, width=320, face_px=110).rgb
    write_clip(tmp_path / "clip.mp4", draw_clip(2, scenes=1, frames_per_scene=12, face_px=80))
    clip = (tmp_path / "clip.mp4").read_bytes()
    settings = Settings(model_path=write_bundle(tmp_path / "bundle"))
    with TestClient(create_app(settings)) as client:
        file = {"file": encoded_png(image)}
        (face,) = client.post("/detect?heatmap=true", files=file).json()["faces"]
        plain = client.post("/detect", files=file).json()["faces"]
        batch = client.post("/detect/batch?heatmap=1", files={"files": encoded_png(image)})
        video = client.post("/detect/video?heatmap=true", files={"file": clip}).json()
        detector = client.app.state.inswapper.service.active.detector  # type: ignore[attr-defined]
        assert client.post("/detect?heatmap=perhaps", files=file).status_code == 422
    seam_map = face["seam_map"]
    direct = detector.score_image(image).faces[0]
    assert seam_map["side"] == 32
    np.testing.assert_allclose(seam_map["values"], direct.seam_map.ravel(), atol=6e-4)
    corners = view_corners(detector.bundle.spec.preprocess, detector.seam_view, direct.face)
    np.testing.assert_allclose(seam_map["corners"], corners, atol=0.06)
    assert [face["seam_map"] for face in plain] == [None]
    assert batch.json()["items"][0]["result"]["faces"][0]["seam_map"] == seam_map
    maps = [face["seam_map"] for frame in video["frames"] for face in frame["faces"]]
    assert maps
    assert all(len(one["values"]) == 1024 for one in maps)


def test_the_map_lies_over_the_face_as_strongly_as_it_is_sure() -> None:
    dark, bright = (np.full((8, 8, 3), level, np.uint8) for level in (0, 200))
    for seam, left in ((0.0, 1.0), (0.5, 0.675), (1.0, 0.35)):
        seam_map = np.full((4, 4), seam, np.float32)
        colour = overlay(dark, seam_map).astype(int)
        np.testing.assert_allclose(overlay(bright, seam_map) - colour, 200 * left, atol=1)
        assert (colour.max() > 0) == (seam > 0)
    # The surest colour of the map is a pale yellow, of which 65 % is laid on.
    assert overlay(dark, np.ones((4, 4), np.float32))[0, 0] == pytest.approx(
        0.65 * np.array([252, 255, 164]), abs=1
    )


def test_a_map_is_written_in_tenths_of_pixels_and_thousandths() -> None:
    face = turned_face(1.3, 25, 210.04, 200)
    detector: Any = SimpleNamespace(
        bundle=SimpleNamespace(spec=SimpleNamespace(preprocess=PREPROCESS)), seam_view=ALIGNED
    )
    result: Any = SimpleNamespace(face=face, seam_map=np.array([[0.12345, 1], [0, 0.5]], "f4"))
    written = seam_map_of(detector, result)
    assert (written["side"], written["values"]) == (2, [0.123, 1.0, 0.0, 0.5])
    corners = view_corners(PREPROCESS, ALIGNED, face).astype(float)
    assert written["corners"] == [[round(value, 1) for value in corner] for corner in corners]
