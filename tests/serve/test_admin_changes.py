"""Admin routes: accepted and refused tokens, thresholds and bundles."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.bundle.load import SPEC_FILE
from serve.detector.state import ServiceState
from serve.main import create_app
from serve.settings import Settings
from tests.support.bundles import MODEL_FILE, file_entry, tiny_graph, write_bundle
from tests.support.service_requests import ADMIN, TOKEN, check_problem, detect, stripped
from tests.support.synthetic import draw_face, encoded_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0, version="first")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    settings = Settings(model_path=folder, admin_token=TOKEN)
    with TestClient(create_app(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def face_png() -> bytes:
    return encoded_png(draw_face(3, height=260, width=320, face_px=110).rgb)


def test_admin_is_disabled_without_a_token(folder: Path) -> None:
    with TestClient(create_app(Settings(model_path=folder))) as disabled:
        check_problem(disabled.post("/admin/reload-model", headers=ADMIN), 403)
        check_problem(
            disabled.post("/admin/threshold", json={"threshold": 0.1}, headers=ADMIN), 403
        )


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer \xff"]
)
def test_admin_needs_the_token(client: TestClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    response = client.post("/admin/reload-model", headers=headers)
    check_problem(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


def test_threshold_changes_the_verdict_until_it_is_taken_back(
    client: TestClient, face_png: bytes
) -> None:
    before = detect(client, face_png).json()
    low = {"threshold": before["score"] / 2}
    answer = client.post("/admin/threshold", json=low, headers=ADMIN).json()
    assert answer["threshold"]["source"] == "admin"
    assert answer["persisted"] is False
    assert detect(client, face_png).json()["verdict"] == "fake"
    client.post("/admin/reload-model", headers=ADMIN)
    assert detect(client, face_png).json()["verdict"] == "fake"
    answer = client.post("/admin/threshold", json={"threshold": None}, headers=ADMIN).json()
    assert (answer["threshold"]["source"], answer["persisted"]) == ("bundle", True)
    assert stripped(detect(client, face_png).json()) == stripped(before)


@pytest.mark.parametrize("body", [{"threshold": 0}, {"threshold": 1.1}, {"threshold": "1"}, {}])
def test_nonsense_thresholds(client: TestClient, body: dict[str, Any]) -> None:
    check_problem(client.post("/admin/threshold", json=body, headers=ADMIN), 422)


def test_reload_takes_the_new_bundle(tmp_path: Path, face_png: bytes) -> None:
    write_bundle(tmp_path, gain=2.0, version="first")
    with TestClient(create_app(Settings(model_path=tmp_path, admin_token=TOKEN))) as client:
        first = detect(client, face_png).json()
        write_bundle(tmp_path, gain=-2.0, version="second")
        assert stripped(detect(client, face_png).json()) == stripped(first)
        answer = client.post("/admin/reload-model", headers=ADMIN).json()
        assert answer["model"]["version"] == "second"
        second = detect(client, face_png).json()
        assert second["model"]["sha256"] != first["model"]["sha256"]
        assert second["score"] == pytest.approx(1 - first["score"], abs=1e-5)


def truncated(folder: Path) -> None:
    path = folder / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-100])


def random_bytes(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes(np.random.default_rng(1).bytes(500))


def flipped_bit(folder: Path) -> None:
    path = folder / MODEL_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_model(folder: Path, content: bytes) -> None:
    """Replace the model and its hash in detector.json."""
    (folder / MODEL_FILE).write_bytes(content)
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["files"][MODEL_FILE] = file_entry(content)
    (folder / SPEC_FILE).write_text(json.dumps(spec))


def other_shape(folder: Path) -> None:
    other_model(folder, tiny_graph(96))


def weights_not_finite(folder: Path) -> None:
    other_model(folder, tiny_graph(64, gain=float("nan")))


def other_answers(folder: Path) -> None:
    """A valid file whose golden outputs belong to a different model."""
    spec = json.loads((folder / SPEC_FILE).read_text())
    outputs = spec["golden"]["outputs"]["fp32"]
    outputs["real_fake"] = [value + 1 for value in outputs["real_fake"]]
    (folder / SPEC_FILE).write_text(json.dumps(spec))


def not_finite(folder: Path) -> None:
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["decision"]["temperature"] = float("nan")
    (folder / SPEC_FILE).write_text(json.dumps(spec))


def no_spec(folder: Path) -> None:
    (folder / SPEC_FILE).unlink()


@pytest.mark.parametrize(
    "break_it",
    [
        truncated,
        random_bytes,
        flipped_bit,
        other_shape,
        weights_not_finite,
        other_answers,
        not_finite,
        no_spec,
    ],
)
def test_a_refused_bundle_changes_nothing(tmp_path: Path, face_png: bytes, break_it: Any) -> None:
    write_bundle(tmp_path, gain=2.0)
    with TestClient(create_app(Settings(model_path=tmp_path, admin_token=TOKEN))) as client:
        before = detect(client, face_png).json()
        break_it(tmp_path)
        check_problem(client.post("/admin/reload-model", headers=ADMIN), 422)
        assert client.get("/ready").status_code == 200
        assert stripped(detect(client, face_png).json()) == stripped(before)


def test_a_second_change_at_the_same_time_is_409(client: TestClient) -> None:
    state: ServiceState = client.app.state.inswapper.service  # type: ignore[attr-defined]
    with state._change():
        check_problem(client.post("/admin/reload-model", headers=ADMIN), 409)
        order = {"threshold": 0.5}
        check_problem(client.post("/admin/threshold", json=order, headers=ADMIN), 409)
    assert client.post("/admin/reload-model", headers=ADMIN).status_code == 200


@pytest.mark.slow
def test_reloads_under_load_disturb_nobody(tmp_path: Path, face_png: bytes) -> None:
    write_bundle(tmp_path, gain=2.0)
    settings = Settings(model_path=tmp_path, admin_token=TOKEN)
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(4) as pool:
        requests = [pool.submit(detect, client, face_png) for _ in range(60)]
        reloads = [client.post("/admin/reload-model", headers=ADMIN) for _ in range(10)]
        answers = [future.result() for future in requests]
    assert {response.status_code for response in (*reloads, *answers)} == {200}
    assert len({response.json()["score"] for response in answers}) == 1
