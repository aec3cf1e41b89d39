"""serve.main: every route of a real application with a real tiny bundle."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from serve.main import create_app
from serve.settings import Settings
from tests.support.bundles import write_bundle
from tests.support.service_requests import ADMIN, TOKEN, check_problem, detect
from tests.support.synthetic import draw_face, encoded_png
from tests.support.unread_files import HEIC


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0, version="first")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    settings = Settings(
        model_path=folder,
        admin_token=TOKEN,
        max_image_pixels=500_000,
        max_upload_mb=1,
        max_batch_files=3,
        max_batch_mb=1,
    )
    with TestClient(create_app(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def face_png() -> bytes:
    return encoded_png(draw_face(3, height=260, width=320, face_px=110).rgb)


@pytest.mark.parametrize("path", ["/health", "/v2/health/live", "/ready", "/v2/health/ready"])
def test_health_and_ready(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_detect_answers_what_the_detector_says(client: TestClient, face_png: bytes) -> None:
    response = detect(client, face_png)
    assert response.status_code == 200
    answer = response.json()
    detector = client.app.state.inswapper.service.active.detector  # type: ignore[attr-defined]
    direct = detector.score_image(draw_face(3, height=260, width=320, face_px=110).rgb)
    assert answer["verdict"] == direct.verdict
    assert answer["score"] == pytest.approx(direct.score, abs=1e-6)
    faces = [{**face.to_dict(), "seam_map": None} for face in direct.faces]
    assert answer["faces"] == json.loads(json.dumps(faces))
    assert answer["image"] == {
        "width_px": 320,
        "height_px": 260,
        "format": "PNG",
        "orientation": 1,
    }
    limits = {"fake": 0.8, "suspicious": 0.5}
    assert answer["threshold"] == {**limits, "tight": limits, "source": "bundle"}
    assert answer["model"]["version"] == "first"
    assert set(answer["timing_ms"]) == {"decode", "queue", "inference", "total"}
    assert answer["request_id"] == response.headers["x-request-id"]


def test_no_face_is_an_answer(client: TestClient) -> None:
    answer = detect(client, encoded_png(np.full((100, 120, 3), 90, np.uint8))).json()
    assert (answer["verdict"], answer["score"], answer["faces"]) == ("no_face", None, [])


def test_exif_orientation_is_reported(client: TestClient) -> None:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[274] = 6
    Image.new("RGB", (40, 20)).save(stream, "JPEG", exif=exif)
    image = detect(client, stream.getvalue()).json()["image"]
    assert (image["width_px"], image["height_px"], image["orientation"]) == (20, 40, 6)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"plain text, no image", 415),
        (b"", 415),
        (b"\x89PNG\r\n\x1a\n" + b"broken" * 20, 422),
        (encoded_png(np.zeros((1000, 501, 3), np.uint8)), 413),
    ],
)
def test_unusable_images(client: TestClient, content: bytes, status: int) -> None:
    problem = check_problem(detect(client, content, name="../../secret-name.jpg"), status)
    assert "secret-name" not in json.dumps(problem)
    assert "plain text" not in json.dumps(problem)


def test_a_photo_of_a_phone_is_refused_with_the_way_out(client: TestClient) -> None:
    expected = "HEIC images are not read; convert this one to PNG or JPEG, for example with"
    problem = check_problem(detect(client, HEIC, name="IMG_1.HEIC"), 415)
    assert problem["detail"].startswith(expected)
    answer = client.post("/detect/batch", files=[("files", ("IMG_1.HEIC", HEIC))])
    (item,) = check_problem(answer, 422)["items"]
    assert item["status"] == 415
    assert item["error"].startswith(expected)


def test_a_truncated_image(client: TestClient, face_png: bytes) -> None:
    check_problem(detect(client, face_png[: len(face_png) // 2]), 422)


def test_wrong_requests(client: TestClient, face_png: bytes) -> None:
    check_problem(client.post("/detect", content=face_png), 415)
    check_problem(client.post("/detect", json={"file": "x"}), 415)
    check_problem(client.post("/detect", files={"image": face_png}), 422)
    check_problem(client.post("/detect", files={"other": b""}, data={"file": "text"}), 422)
    malformed = {"content-type": "multipart/form-data; boundary=abc"}
    check_problem(client.post("/detect", content=b"no boundary", headers=malformed), 400)
    check_problem(
        client.post("/detect", content=b"x", headers={"content-type": "multipart/form-data"}), 400
    )
    check_problem(client.post("/detect", files=[("file", b"a")] * 3), 413)
    check_problem(client.post("/detect", files={"file": bytes(1_000_001)}), 413)
    refused = client.get("/detect")
    check_problem(refused, 405)
    assert refused.headers["allow"] == "POST"
    check_problem(client.get("/nothing"), 404)


def test_batch_keeps_the_order(client: TestClient, face_png: bytes) -> None:
    wall = encoded_png(np.full((60, 60, 3), 90, np.uint8))
    files = [("files", face_png), ("files", b"no image"), ("files", wall)]
    response = client.post("/detect/batch", files=files)
    assert response.status_code == 200
    items = response.json()["items"]
    assert [(item["index"], item["status"]) for item in items] == [(0, 200), (1, 415), (2, 200)]
    alone = detect(client, face_png).json()
    assert items[0]["result"]["score"] == alone["score"]
    assert items[1]["result"] is None
    assert items[1]["error"].startswith("not an image")
    assert items[2]["result"]["verdict"] == "no_face"


def test_a_batch_of_nothing_usable(client: TestClient) -> None:
    problem = check_problem(client.post("/detect/batch", files=[("files", b"x")] * 2), 422)
    assert [item["status"] for item in problem["items"]] == [415, 415]


def test_a_batch_of_too_many(client: TestClient) -> None:
    check_problem(client.post("/detect/batch", files=[("files", b"x")] * 4), 413)


def test_without_a_bundle_the_service_says_what_is_missing(tmp_path: Path, face_png: bytes) -> None:
    settings = Settings(model_path=tmp_path / "absent", admin_token=TOKEN)
    with TestClient(create_app(settings)) as client:
        assert client.get("/health").status_code == 200
        response = client.get("/ready")
        assert "INSWAPPER_MODEL_PATH" in check_problem(response, 503)["reasons"][0]
        assert int(response.headers["retry-after"]) > 0
        check_problem(detect(client, face_png), 503)
        check_problem(client.post("/admin/reload-model", headers=ADMIN), 422)
        write_bundle(tmp_path / "absent")
        assert client.post("/admin/reload-model", headers=ADMIN).status_code == 200
        assert detect(client, face_png).status_code == 200


def test_a_detector_from_the_sample_says_so(tmp_path: Path, face_png: bytes) -> None:
    write_bundle(tmp_path, trained_on="data/sample")
    with TestClient(create_app(Settings(model_path=tmp_path))) as client:
        assert "embedded sample" in detect(client, face_png).json()["warnings"][0]


def test_openapi_documents_every_route_and_its_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"/detect", "/detect/batch", "/detect/video", "/ready"} <= set(document["paths"])
    for path in ("/detect", "/detect/batch", "/detect/video"):
        operation = document["paths"][path]["post"]
        assert {"200", "400", "408", "413", "415", "422", "503"} <= set(operation["responses"])
        assert "multipart/form-data" in operation["requestBody"]["content"]
    assert client.get("/docs").status_code == 404
