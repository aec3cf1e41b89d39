"""Admin routes: threshold saved across restarts, rollback and audit log."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pipeline.runtime.errors import SettingsError
from serve.detector.state import read_saved_threshold, save_threshold
from serve.main import create_app
from serve.settings import Settings
from tests.support.bundles import write_bundle
from tests.support.synthetic import draw_face, encoded_png

TOKEN = "a-token-of-the-test"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", gain=2.0, version="first")


@pytest.fixture(scope="module")
def face_png() -> bytes:
    return encoded_png(draw_face(3, height=260, width=320, face_px=110).rgb)


def service(bundle: Path, **changes: Any) -> TestClient:
    return TestClient(create_app(Settings(model_path=bundle, admin_token=TOKEN, **changes)))


def set_threshold(client: TestClient, threshold: float | None) -> Any:
    return client.post("/admin/threshold", json={"threshold": threshold}, headers=ADMIN)


def reload(client: TestClient, query: str = "") -> Any:
    return client.post(f"/admin/reload-model{query}", headers=ADMIN)


def score(client: TestClient, image: bytes) -> float:
    return float(client.post("/detect", files={"file": image}).json()["score"])


def test_a_saved_threshold_survives_a_restart(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with service(bundle, state_file=file) as client:
        answer = set_threshold(client, 0.123456789).json()
        assert answer["persisted"] is True
    with service(bundle, state_file=file) as client:
        answer = reload(client).json()
        assert answer["threshold"]["fake"] == 0.123456789
        assert answer["threshold"]["source"] == "admin"
        assert set_threshold(client, None).json()["persisted"] is True
    with service(bundle, state_file=file) as client:
        assert reload(client).json()["threshold"]["source"] == "bundle"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["state.json"]


def test_without_a_file_a_threshold_is_not_persisted(bundle: Path) -> None:
    with service(bundle) as client:
        assert set_threshold(client, 0.3).json()["persisted"] is False


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"threshold": 0}', '{"threshold": "0.5"}', '{"threshold": 1, "x": 1}'],
)
def test_a_broken_state_file_stops_the_start(bundle: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(content)
    with (
        pytest.raises(SettingsError, match=r"INSWAPPER_STATE_FILE: .*state\.json"),
        service(bundle, state_file=file),
    ):
        pass


def test_a_state_file_in_no_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"INSWAPPER_STATE_FILE: .*no such folder"):
        read_saved_threshold(tmp_path / "absent" / "state.json")


def test_what_cannot_be_written_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    file = folder / "state.json"
    with service(bundle, state_file=file) as client:
        before = reload(client).json()
        folder.rmdir()
        response = set_threshold(client, 0.3)
        assert response.status_code == 503
        assert "INSWAPPER_STATE_FILE" in response.json()["detail"]
        assert str(tmp_path) not in response.text
        assert reload(client).json() == before


def test_an_interrupted_write_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    save_threshold(file, 0.25)
    (tmp_path / "state.json.tmp").write_text('{"thresh')
    assert read_saved_threshold(file) == 0.25
    save_threshold(file, None)
    assert read_saved_threshold(file) is None
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_rollback_puts_the_replaced_bundle_back(bundle: Path, face_png: bytes) -> None:
    with service(bundle) as client:
        assert reload(client, "?rollback=true").status_code == 409
        first = score(client, face_png)
        write_bundle(bundle, gain=-2.0, version="second")
        assert reload(client).json()["model"]["version"] == "second"
        assert score(client, face_png) == pytest.approx(1 - first, abs=1e-5)
        set_threshold(client, 0.3)
        answer = reload(client, "?rollback=true").json()
        assert answer["model"]["version"] == "first"
        assert answer["threshold"]["fake"] == 0.3
        assert answer["persisted"] is False
        assert score(client, face_png) == first
        refused = reload(client, "?rollback=true")
        assert refused.status_code == 409
        assert "no previous bundle to restore" in refused.json()["detail"]


def test_a_refused_reload_keeps_the_way_back(bundle: Path) -> None:
    with service(bundle) as client:
        write_bundle(bundle, version="second")
        reload(client)
        (bundle / "detector.onnx").write_bytes(np.random.default_rng(1).bytes(500))
        assert reload(client).status_code == 422
        answer = reload(client, "?rollback=true")
        assert answer.json()["model"]["version"] == "first"


@pytest.mark.parametrize("query", ["?rollback=maybe", "?rollback="])
def test_nonsense_queries(bundle: Path, query: str) -> None:
    with service(bundle) as client:
        assert reload(client, query).status_code == 422


def test_every_order_leaves_an_audit_line(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(bundle) as client:
        answers = [set_threshold(client, 0.3), set_threshold(client, None)]
        write_bundle(bundle, version="second")
        answers += [reload(client), reload(client, "?rollback=true")]
        answers += [reload(client, "?rollback=true")]
    log = capsys.readouterr().err
    assert TOKEN not in log
    lines = [json.loads(line) for line in log.splitlines()]
    audit = [line for line in lines if line["logger"] == "inswapper.audit"]
    assert [line["what"] for line in audit] == [
        "threshold",
        "threshold",
        "reload",
        "rollback",
        "rollback refused",
    ]
    assert [line["request_id"] for line in audit] == [a.headers["x-request-id"] for a in answers]
    assert (audit[0]["old"], audit[0]["new"]) == ("0.8 (bundle)", "0.3 (admin)")
    assert (audit[1]["old"], audit[1]["new"]) == ("0.3 (admin)", "0.8 (bundle)")
    assert audit[2]["old"].split()[0] == "first"
    assert audit[2]["new"].split()[0] == "second"
    assert audit[3]["new"] == audit[2]["old"]
