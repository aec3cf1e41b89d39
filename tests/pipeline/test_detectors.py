import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import insightface
import numpy as np
import onnx
import onnxruntime
import pytest
import skimage.data
from numpy.typing import NDArray

from pipeline.core.arrays import ImageU8
from pipeline.faces import retinaface_pack
from pipeline.faces.detector import find_faces
from pipeline.faces.load import load_detector
from pipeline.faces.opencv_haar import AVERAGE_KEYPOINTS, pseudo_score
from pipeline.runtime.errors import DetectorError
from tests.support.synthetic import draw_face
from tests.support.tiny_graphs import save_graph

T1 = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"


def astronaut() -> ImageU8:
    return np.asarray(skimage.data.astronaut(), np.uint8)


def group_photo() -> ImageU8:
    return np.asarray(cv2.imread(str(T1))[:, :, ::-1], np.uint8)


@pytest.fixture(autouse=True, scope="module")
def fresh_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSWAPPER_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("INSWAPPER_PACKS", raising=False)
        yield


def reference_faces(rgb: ImageU8, side: int) -> NDArray[np.float64]:
    """(n, 14): boxes and keypoints decoded from the original graph by RetinaFace's own formulas.

    Written from the paper in relative coordinates; it has only the weights in common with the
    pipeline.
    """
    scale = side / max(rgb.shape[:2])
    inner = cv2.resize(
        rgb,
        (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )
    boxed = np.zeros((side, side, 3), np.float32)
    boxed[: inner.shape[0], : inner.shape[1]] = inner
    blob = (boxed[:, :, ::-1] - [104, 117, 127]).astype(np.float32).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(retinaface_pack.read_retinaface())
    loc, conf, landmarks = session.run(["loc", "conf", "landmarks"], {"input": blob})
    priors = [
        ((x + 0.5) * step / side, (y + 0.5) * step / side, size / side)
        for step, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
        for y in range(side // step)
        for x in range(side // step)
        for size in sizes
    ]
    faces = []
    for row in np.flatnonzero(conf[0, :, 1] >= 0.5):
        px, py, size = priors[row]
        dx, dy, dw, dh = loc[0, row].astype(float)
        cx, cy = px + dx * 0.1 * size, py + dy * 0.1 * size
        w, h = size * np.exp(0.2 * dw), size * np.exp(0.2 * dh)
        box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        points = [
            (px, py)[i % 2] + v * 0.1 * size for i, v in enumerate(landmarks[0, row].astype(float))
        ]
        faces.append([conf[0, row, 1], *np.array(box + points) * side / scale])
    return suppressed(np.array(sorted(faces, reverse=True)))[:, 1:]


def suppressed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Greedy suppression of score-sorted rows at an overlap of 0.4."""
    selected: list[NDArray[np.float64]] = []
    for row in rows:
        if all(overlap(row[1:5], other[1:5]) <= 0.4 for other in selected):
            selected.append(row)
    return np.array(selected)


def overlap(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner
    return float(inner / union)


def by_position(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows[np.argsort(rows[:, 0])]


@pytest.mark.parametrize("name", ["insightface", "retinaface"])
@pytest.mark.parametrize(
    ("image", "people"), [(astronaut, 1), (group_photo, 6)], ids=["one person", "six people"]
)
def test_boxes_and_keypoints_equal_the_original_network(
    name: str, image: Callable[[], ImageU8], people: int
) -> None:
    rgb = image()
    expected = by_position(reference_faces(rgb, 640))
    found = load_detector(name).detect(rgb)
    rows = by_position(
        np.array([[*face.box_xyxy, *np.asarray(face.keypoints).ravel()] for face in found])
    )
    assert rows.shape == expected.shape == (people, 14)
    np.testing.assert_allclose(rows, expected, atol=0.02)


@pytest.mark.parametrize("name", ["insightface", "retinaface"])
def test_keypoints_are_in_arcface_order_and_where_they_were_drawn(name: str) -> None:
    drawn = draw_face(3, height=240, width=320, face_px=120)
    faces = find_faces(load_detector(name), drawn.rgb, min_score=0.5, min_face_px=40, max_faces=3)
    assert len(faces) == 1
    assert overlap(faces[0].box_xyxy, drawn.box_xyxy) > 0.6
    assert faces[0].keypoints is not None
    np.testing.assert_allclose(faces[0].keypoints, drawn.keypoints, atol=9)


def test_the_pack_has_scrfds_nine_outputs_and_the_same_bytes_each_time() -> None:
    weights = retinaface_pack.read_retinaface()
    built = retinaface_pack.scrfd_layout(weights)
    assert built == retinaface_pack.scrfd_layout(weights)
    graph = onnx.load_model_from_string(built).graph
    assert [value.name for value in graph.output] == [
        f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in (8, 16, 32)
    ]


def test_processes_building_the_pack_at_once_find_one_complete_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSWAPPER_CACHE", str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: retinaface_pack.build_pack(), range(4)))
    assert len(folders) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.parent for path in files] == list(folders)
    onnx.checker.check_model(str(files[0]))


def test_altered_weights_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retinaface_pack, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(DetectorError, match=f"expected {'0' * 64}"):
        retinaface_pack.read_retinaface()


def test_loading_prints_nothing_and_imports_no_heavy_library() -> None:
    code = (
        "import sys; from pipeline.faces.load import load_detector; load_detector('insightface');"
        "sys.exit(','.join({'retinaface', 'torch', 'albumentations'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_any_pack_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "det.onnx").write_bytes(
        (retinaface_pack.build_pack() / "det_retinaface.onnx").read_bytes()
    )
    monkeypatch.setenv("INSWAPPER_PACKS", str(tmp_path))
    by_name, by_path = (
        load_detector("insightface", pack="mine"),
        load_detector("insightface", pack=str(folder)),
    )
    assert len(by_name.detect(astronaut())) == len(by_path.detect(astronaut())) == 1


def test_a_missing_pack_is_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSWAPPER_PACKS", str(tmp_path))
    with pytest.raises(DetectorError, match=r"buffalo_l.*searched.*non-commercial") as error:
        load_detector("insightface", pack="buffalo_l")
    assert str(tmp_path / "buffalo_l") in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_pack_without_a_detector_is_rejected(tmp_path: Path) -> None:
    save_graph(tmp_path / "other.onnx", [1, 3, 48, 48], np.zeros((1, 2), np.float32))
    with pytest.raises(DetectorError, match="contains no face detector"):
        load_detector("insightface", pack=str(tmp_path))


def test_an_unknown_detector_is_rejected() -> None:
    with pytest.raises(DetectorError, match="'dlib' is unknown; expected insightface"):
        load_detector("dlib")


def test_haar_finds_the_astronaut_and_estimates_her_keypoints() -> None:
    faces = load_detector("opencv_haar").detect(astronaut())
    best = max(faces, key=lambda face: face.score)
    true = load_detector("retinaface").detect(astronaut())[0]
    assert overlap(best.box_xyxy, true.box_xyxy) > 0.5
    assert best.keypoints is not None
    assert true.keypoints is not None
    side = float(best.box_xyxy[2] - best.box_xyxy[0])
    # Average keypoints are off by a twelfth of the box, more where this face is turned.
    assert np.abs(best.keypoints - true.keypoints).mean() < side / 12
    assert 0.5 < best.score < 1


def test_haar_keypoints_are_those_of_an_average_upright_face() -> None:
    for face in load_detector("opencv_haar").detect(astronaut()):
        corner, size = face.box_xyxy[:2], face.box_xyxy[2:] - face.box_xyxy[:2]
        assert face.keypoints is not None
        assert face.keypoints.shape == (5, 2)
        assert face.keypoints.dtype == np.float32
        assert (face.keypoints - corner) / size == pytest.approx(AVERAGE_KEYPOINTS, abs=1e-4)
    left_eye, right_eye, nose, left_mouth, right_mouth = AVERAGE_KEYPOINTS
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


def test_haar_pseudo_scores() -> None:
    assert [pseudo_score(weight) for weight in (-2.0, 0.0, 3.0, 9.0)] == [0, 0, 0.5, 0.75]


def test_a_missing_mediapipe_reports_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(DetectorError, match=r"pip install '\.\[mediapipe\]'"):
        load_detector("mediapipe")
