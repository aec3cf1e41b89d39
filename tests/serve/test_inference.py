"""serve.detector.inference with a real tiny bundle and the real face detector."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.decision.decide import FaceDecision
from pipeline.decision.fusion import sigmoid
from pipeline.faces.detector import Face
from pipeline.runtime.errors import DetectorError
from pipeline.seam.evidence import SeamEvidence, seam_evidence
from pipeline.seam.features import seam_features
from pipeline.seam.rings import ring_statistics
from pipeline.views.aligned import aligned_view
from serve.detector.heatmaps import SIDE_PX, draw_heatmap, overlay
from serve.detector.inference import FaceResult, SwapDetector, image_result, load_swap_detector
from serve.schemas import FaceAnswer
from serve.settings import Settings
from tests.support.bundles import write_bundle
from tests.support.synthetic import DrawnFace, draw_face, draw_scenery


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0, bias=0.3)


@pytest.fixture(scope="module")
def detector(folder: Path) -> SwapDetector:
    return load_swap_detector(Settings(model_path=folder), threads=1)


@pytest.fixture(scope="module")
def drawn() -> DrawnFace:
    return draw_face(3, height=300, width=400, face_px=120)


def ramp(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([rows * 200 // height, columns * 200 // width, rows * 0 + 90]).astype(np.uint8)


def keypoints_of(face: Face) -> np.ndarray:
    assert face.keypoints is not None
    return face.keypoints


def side_by_side(*images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(images, axis=1))


def test_score_follows_from_the_views(detector: SwapDetector, drawn: DrawnFace) -> None:
    """Computed by hand: brightness -> logits -> probabilities -> weighted mean over 4 views."""
    result = detector.score_image(drawn.rgb)
    (found,) = result.faces
    preprocess = detector.bundle.spec.preprocess
    scores = []
    crops = [preprocess.crop(drawn.rgb, found.face.box_xyxy, scale) for scale in (1.1, 1.5, 2.0)]
    for crop in [*crops, aligned_view(drawn.rgb, keypoints_of(found.face), 64).rgb]:
        logit = 2.0 * preprocess.to_input(crop).mean() + 0.3
        scores.append(np.dot([0.55, 0.3, 0.15], sigmoid(logit * np.array([1, 0.5, 0.25]))))
    assert found.decision.view_scores == pytest.approx(scores, abs=1e-5)
    assert result.score == pytest.approx(np.mean(scores), abs=1e-5)


def test_the_box_is_where_the_face_was_drawn(detector: SwapDetector, drawn: DrawnFace) -> None:
    (found,) = detector.score_image(drawn.rgb).faces
    centre = found.face.box_xyxy.reshape(2, 2).mean(axis=0)
    assert centre == pytest.approx(drawn.box_xyxy.reshape(2, 2).mean(axis=0), abs=15)
    assert found.to_dict()["box_xyxy"] == pytest.approx(found.face.box_xyxy, abs=0.051)


@pytest.mark.parametrize("rgb", [ramp(240, 320), draw_scenery(5)], ids=["ramp", "wall"])
def test_no_face(detector: SwapDetector, rgb: np.ndarray) -> None:
    result = detector.score_image(rgb)
    assert (result.verdict, result.score, result.faces) == ("no_face", None, ())


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (3, 2), (20, 4000)])
def test_odd_shapes_have_no_face(detector: SwapDetector, shape: tuple[int, int]) -> None:
    assert detector.score_image(np.full((*shape, 3), 90, np.uint8)).verdict == "no_face"


def test_a_face_that_fills_the_image_is_found(detector: SwapDetector) -> None:
    rgb = draw_face(2, height=200, width=170, face_px=190).rgb
    assert len(detector.score_image(rgb).faces) == 1


def test_the_brighter_face_is_the_worst(detector: SwapDetector) -> None:
    dark, bright = (draw_face(k, height=300, width=300, face_px=120).rgb for k in (3, 4))
    dark = (dark // 3).astype(np.uint8)
    result = detector.score_image(side_by_side(dark, np.maximum(bright, 150)))
    assert len(result.faces) == 2
    by_position = sorted(result.faces, key=lambda f: float(f.face.box_xyxy[0]))
    assert by_position[1].score > by_position[0].score
    assert result.score == by_position[1].score


def test_faces_together_score_as_each_alone(detector: SwapDetector) -> None:
    rgb = side_by_side(*(draw_face(k, height=260, width=260, face_px=110).rgb for k in (1, 2, 3)))
    result = detector.score_image(rgb)
    assert len(result.faces) == 3
    for together in result.faces:
        (alone,) = detector.score_faces(rgb, [together.face])
        assert alone.score == pytest.approx(together.score, abs=1e-6)
        np.testing.assert_allclose(alone.seam_map, together.seam_map, atol=1e-6)


def test_max_faces_are_the_largest_and_the_rest_is_announced(detector: SwapDetector) -> None:
    sizes = (90, 150, 110)
    faces = [draw_face(k, height=300, width=300, face_px=px).rgb for k, px in enumerate(sizes)]
    result = replace(detector, max_faces=2).score_image(side_by_side(*faces))
    assert len(result.faces) == 2
    assert all(f.face.box_xyxy[0] > 280 for f in result.faces)
    assert result.warnings == ("only the 2 largest faces were examined",)


def test_a_small_face_is_undecided(detector: SwapDetector) -> None:
    result = detector.score_image(draw_face(3, face_px=45).rgb)
    assert result.verdict == "undecided"
    assert result.faces[0].decision.reasons == ("face_too_small",)
    assert result.score is not None


def test_the_operators_threshold_wins(folder: Path, drawn: DrawnFace) -> None:
    """The bundle's thresholds are 0.5 for suspicious and 0.8 for fake."""
    score = load_swap_detector(Settings(model_path=folder), 1).score_image(drawn.rgb).score
    assert score is not None
    assert 0.1 < score < 0.5
    for threshold, expected in ((score - 0.01, "fake"), (score + 0.01, "real")):
        detector = load_swap_detector(Settings(model_path=folder, threshold=threshold), 1)
        assert detector.score_image(drawn.rgb).verdict == expected


def test_standing_warnings(tmp_path: Path, detector: SwapDetector) -> None:
    assert detector.warnings == ()
    sample = write_bundle(tmp_path / "sample", trained_on="data/sample")
    warned = load_swap_detector(Settings(model_path=sample, face_detector="opencv_haar"), 1)
    assert len(warned.warnings) == 2
    assert "embedded sample" in warned.warnings[0]
    assert "opencv_haar" in warned.warnings[1]
    assert "insightface (retinaface_mnet025)" in warned.warnings[1]


def test_the_seams_trees_are_asked_and_their_evidence_is_shown(
    detector: SwapDetector, drawn: DrawnFace
) -> None:
    (found,) = detector.score_image(drawn.rgb).faces
    statistics = ring_statistics(drawn.rgb, keypoints_of(found.face))
    (logit,) = detector.bundle.trees.logits(seam_features(statistics[None]))
    assert found.decision.heads["seam"] == pytest.approx(float(sigmoid(logit)))
    np.testing.assert_array_equal(found.evidence.profile_db, seam_evidence(statistics).profile_db)
    answer = found.to_dict()
    assert answer["surroundings"] == round(found.decision.surroundings, 4) > 0.9
    assert answer["possible"] == list(found.decision.possible)
    assert len(answer["view_scores"]) == 4
    assert len(answer["seam_evidence"]["bands"]) == 6
    FaceAnswer.model_validate(answer)
    json.dumps(answer, allow_nan=False)


def test_the_answer_is_json_where_the_image_ends(detector: SwapDetector) -> None:
    """Without surroundings the texture outside is unknown: null, not NaN."""
    rgb = draw_face(2, height=190, width=150, face_px=190).rgb
    (found,) = detector.score_image(rgb).faces
    assert found.decision.surroundings < 0.02
    assert "no_surroundings" in found.decision.reasons
    assert found.decision.verdict != "suspicious"
    answer = found.to_dict()
    bands = answer["seam_evidence"]["bands"]
    assert {band["outside_db"] for band in bands} == {band["drop_db"] for band in bands} == {None}
    json.dumps(answer, allow_nan=False)
    FaceAnswer.model_validate(answer)


def test_a_soft_image_is_left_undecided(detector: SwapDetector, drawn: DrawnFace) -> None:
    limited = detector.decision.model_copy(update={"min_detail": 0.0})
    strict = replace(detector, decision=limited)
    soft = np.asarray(cv2.GaussianBlur(drawn.rgb, (0, 0), 4), np.uint8)
    result = strict.score_image(soft)
    assert (result.verdict, result.faces[0].decision.reasons) == ("undecided", ("too_soft",))
    assert strict.score_image(drawn.rgb).verdict != "undecided"


def test_a_face_without_keypoints_cannot_be_scored(
    detector: SwapDetector, drawn: DrawnFace
) -> None:
    face = Face(drawn.box_xyxy, None, 0.9)
    with pytest.raises(DetectorError, match=r"gave no keypoints.*INSWAPPER_FACE_DETECTOR"):
        detector.score_faces(drawn.rgb, [face])
    assert detector.score_faces(drawn.rgb, []) == []


def face_result(verdict: str, score: float, *reasons: str) -> FaceResult:
    face = Face(np.zeros(4, np.float32), None, 1.0)
    decision = FaceDecision(score, verdict, {}, (), 1.0, (), reasons)  # type: ignore[arg-type]
    rings = np.zeros((6, 13), np.float32)
    evidence = SeamEvidence(rings[:, 0], rings[:, 0], rings[:, 0], rings)
    return FaceResult(face, decision, np.zeros((32, 32), np.float32), evidence)


def test_background_faces_do_not_make_an_image_undecided() -> None:
    large = face_result("real", 0.1)
    small = face_result("undecided", 0.9, "face_too_small")
    result = image_result([large, small])
    assert (result.verdict, result.score) == ("real", 0.1)
    assert result.warnings == ("faces too small to score: 1 of 2",)
    assert len(result.faces) == 2


def test_a_face_without_surroundings_does() -> None:
    cut = face_result("undecided", 0.4, "no_surroundings")
    assert image_result([face_result("real", 0.1), cut]).verdict == "undecided"
    assert image_result([face_result("fake", 0.9), cut]).verdict == "fake"


def test_the_shown_seam_map_is_that_of_the_aligned_view(
    detector: SwapDetector, drawn: DrawnFace
) -> None:
    (found,) = detector.score_image(drawn.rgb).faces
    assert detector.seam_view == 3
    view = aligned_view(drawn.rgb, keypoints_of(found.face), 64).rgb
    inputs = detector.bundle.spec.preprocess.to_input(view)
    cells = cv2.resize(inputs.mean(axis=0), (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(found.seam_map, sigmoid(cells), atol=1e-5)


def test_heatmap_shows_the_seam_and_leaves_the_rest() -> None:
    patch = np.full((64, 64, 3), 120, np.uint8)
    seam = np.zeros((32, 32), np.float32)
    seam[8:24, 20:24] = 1
    drawn = overlay(patch, seam)
    assert (drawn[:, :36] == 120).all()
    assert (np.abs(drawn[20:44, 42:46].astype(int) - 120).max(axis=2) > 40).all()


def test_heatmap_of_a_face(detector: SwapDetector, drawn: DrawnFace) -> None:
    (found,) = detector.score_image(drawn.rgb).faces
    assert draw_heatmap(detector, drawn.rgb, found).shape == (SIDE_PX, SIDE_PX, 3)
