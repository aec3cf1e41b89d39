"""The service on Ray Serve: a local Ray with two replicas for pictures and the one for videos."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.client import Client
from tests.bundles import write_bundle
from tests.live_service import live_service
from tests.ray_service import ADMIN, RayService, ray_service
from tests.synthetic import draw_face, encoded_png

pytestmark = pytest.mark.slow

REPLICAS = 2
ALL = REPLICAS + 1
WAIT_S = 120


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where the replicas for pictures and the one for videos look: two disks of a cluster."""
    folder = tmp_path_factory.mktemp("bundles")
    return folder / "pictures", folder / "videos"


@pytest.fixture(scope="module")
def service(
    bundles: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RayService]:
    for bundle in bundles:
        write_bundle(bundle, version="first")
    with ray_service(
        REPLICAS,
        {"max_ongoing_requests": 1, "max_queued_requests": 1},
        {"INSWAPPER_MODEL_PATH": str(bundles[1])},
        INSWAPPER_MODEL_PATH=str(bundles[0]),
        INSWAPPER_STATE_FILE=str(tmp_path_factory.mktemp("state") / "state.json"),
    ) as started:
        yield started


@pytest.fixture
def client(service: RayService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.address, timeout=WAIT_S) as client:
        yield client


@pytest.fixture(scope="module")
def face_png() -> bytes:
    return encoded_png(draw_face(3, height=260, width=320, face_px=110).rgb)


def answered(client: httpx.Client, picture: bytes) -> dict[str, Any]:
    """The answer without what differs from request to request."""
    response = client.post("/detect", files={"file": picture})
    assert response.status_code == 200, response.text
    return {k: v for k, v in response.json().items() if k not in ("request_id", "timing_ms")}


def reload(client: httpx.Client, query: str = "") -> httpx.Response:
    return client.post(f"/admin/reload-model{query}", headers=ADMIN)


def held(client: httpx.Client) -> list[tuple[str, str, float]]:
    """Application, version and threshold of every replica."""
    found = client.get("/admin/replicas", headers=ADMIN).raise_for_status().json()
    assert len({replica["replica"] for replica in found}) == len(found)
    return [(r["application"], r["model"]["version"], r["threshold"]["fake"]) for r in found]


def versions(client: httpx.Client) -> list[str]:
    return [version for _, version, _ in held(client)]


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_answers_are_those_of_uvicorn(
    client: httpx.Client, face_png: bytes, bundles: tuple[Path, Path]
) -> None:
    with (
        live_service(INSWAPPER_MODEL_PATH=str(bundles[0])) as plain,
        httpx.Client(base_url=plain, timeout=WAIT_S) as other,
    ):
        assert answered(client, face_png) == answered(other, face_png)
        for path in ("/health", "/ready"):
            assert client.get(path).json() == other.get(path).json()
        for path, files in (("/detect", {"file": b"no picture"}), ("/nothing", None)):
            refused = [c.post(path, files=files) for c in (client, other)]
            assert refused[0].status_code == refused[1].status_code
            assert refused[0].json()["detail"] == refused[1].json()["detail"]


def test_a_reload_reaches_every_replica(client: httpx.Client, bundles: tuple[Path, Path]) -> None:
    for bundle in bundles:
        write_bundle(bundle, gain=2.0, version="second")
    answer = reload(client).json()
    assert (answer["model"]["version"], answer["replicas"]) == ("second", ALL)
    assert versions(client) == ["second"] * ALL

    # The same over HTTP, whichever replica answers.
    for _ in range(20):
        text = client.get("/metrics").text
        assert re.findall(r'^inswapper_model_info\{.*version="(\w+)"', text, re.MULTILINE) == [
            "second"
        ]


@pytest.mark.parametrize("which", [0, 1])
def test_a_reload_that_one_replica_refuses_changes_none(
    client: httpx.Client, bundles: tuple[Path, Path], which: int
) -> None:
    before = versions(client)
    for bundle in bundles:
        write_bundle(bundle, gain=3.0, version="third")
    (bundles[which] / "detector.onnx").write_bytes(b"damaged")
    refused = reload(client)
    assert refused.status_code == 422
    assert refused.json()["replicas"] == {"asked": ALL, "obeyed": ALL - (REPLICAS, 1)[which]}
    assert versions(client) == before


def test_a_reload_of_different_bundles_changes_none(
    client: httpx.Client, bundles: tuple[Path, Path]
) -> None:
    before = versions(client)
    write_bundle(bundles[0], gain=3.0, version="third")
    write_bundle(bundles[1], gain=4.0, version="fourth")
    refused = reload(client)
    assert refused.status_code == 409
    assert "different bundles" in refused.json()["detail"]
    assert versions(client) == before


def test_there_is_no_rollback(client: httpx.Client) -> None:
    refused = reload(client, "?rollback=true")
    assert refused.status_code == 409
    assert "no rollback on Ray Serve" in refused.json()["detail"]


def test_administration_needs_the_token(client: httpx.Client) -> None:
    for path in ("/admin/reload-model", "/admin/threshold"):
        assert client.post(path, json={"threshold": 0.4}).status_code == 401
    assert client.get("/admin/replicas").status_code == 401


def test_a_threshold_reaches_replicas_that_start_later(
    service: RayService, client: httpx.Client
) -> None:
    answer = client.post("/admin/threshold", json={"threshold": 0.125}, headers=ADMIN).json()
    assert (answer["replicas"], answer["persisted"]) == (ALL, True)
    before = client.get("/admin/replicas", headers=ADMIN).json()
    assert [replica["threshold"]["fake"] for replica in before] == [0.125] * ALL
    ours = {r["replica"] for r in before}
    service.replicas()[0].kill()

    def replaced() -> bool:
        response = client.get("/admin/replicas", headers=ADMIN)
        found = response.json() if response.status_code == 200 else []
        return len(found) == ALL and {r["replica"] for r in found} != ours

    until(replaced)
    assert [fake for _, _, fake in held(client)] == [0.125] * ALL


def test_jobs_are_found_whoever_is_asked(client: httpx.Client, clip: Path) -> None:
    headers = {"Prefer": "respond-async"}
    with clip.open("rb") as stream:
        begun = client.post("/detect/video", files={"file": stream}, headers=headers)
    assert begun.status_code == 202
    location, job_id = begun.headers["location"], begun.json()["job_id"]
    assert location == f"/detect/video/jobs/{job_id}"
    until(lambda: client.get(location).json()["status"] == "done")
    direct = client.get(location).json()
    # As the review page and whoever puts the path together ask.
    found = client.get(f"/jobs/{job_id}", follow_redirects=True)
    assert found.json()["result"] == direct["result"]
    events = client.get(f"/jobs/{job_id}/events", follow_redirects=True).text
    assert "event: done" in events
    gone = client.delete(f"/jobs/{job_id}", follow_redirects=True)
    assert (gone.status_code, client.get(location).status_code) == (204, 404)


def test_the_client_follows_a_job(service: RayService, clip: Path) -> None:
    with Client(service.address) as client:
        assert len(client.detect_video(clip)["frames"]) == 12


def test_beyond_its_queue_ray_answers_503(client: httpx.Client, face_png: bytes) -> None:
    def status(_: int) -> tuple[int, str | None]:
        response = client.post("/detect", files={"file": face_png})
        return response.status_code, response.headers.get("retry-after")

    with ThreadPoolExecutor(24) as pool:
        found = set(pool.map(status, range(48)))
    assert found == {(200, None), (503, "1")}
    assert client.get("/health").status_code == 200
