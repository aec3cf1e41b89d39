"""POST /detect/video and its jobs, through a real application with a real tiny bundle."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient

from serve.detect_video import wants_job
from serve.main import create_app
from serve.settings import Settings
from tests.bundles import write_bundle
from tests.synthetic import draw_clip, draw_face, write_clip
from tests.test_service import check_problem, detect, png
from tests.videos import readers, write_4k, write_long, write_slow

APART = {"Prefer": "respond-async"}
WAIT_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with opened(folder, sync_video_s=2, max_jobs=2, deadline_s=3) as found:
        yield found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_clip(path, draw_clip(2, scenes=2, frames_per_scene=15, face_px=80))
    return path.read_bytes()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """16 s of video: a job."""
    path = tmp_path_factory.mktemp("videos") / "slow.mp4"
    write_slow(path)
    return path.read_bytes()


def opened(folder: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(Settings(model_path=folder, **settings)))


def post(client: TestClient, content: bytes, **headers: str) -> Any:
    return client.post("/detect/video", files={"file": ("secret.mp4", content)}, headers=headers)


def start(client: TestClient, content: bytes) -> str:
    """Where the job is found."""
    response = post(client, content, **APART)
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


def until(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def ended(client: TestClient, where: str) -> dict[str, Any]:
    def finished() -> dict[str, Any] | None:
        job = client.get(where).json()
        return None if job["status"] in ("queued", "running") else job

    return dict(until(finished))


def frozen_reader() -> psutil.Process:
    """The process that reads a video now, stopped until it is killed."""
    (child,) = until(readers)
    child.suspend()
    return child  # type: ignore[no-any-return]


def test_a_short_video_is_answered_at_once(client: TestClient, clip: bytes) -> None:
    response = post(client, clip)
    assert response.status_code == 200
    answer = response.json()
    assert len(answer["frames"]) == 12
    assert [scene["stop_frame"] for scene in answer["scenes"]] == [15, 30]
    scores = [frame["score"] for frame in answer["frames"]]
    assert answer["score"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert answer["highest_scene"] in (0, 1)
    assert answer["request_id"] == response.headers["x-request-id"]
    assert sorted(track["scene"] for track in answer["tracks"]) == [0, 1]
    assert response.headers["server-timing"].startswith("total;dur=")
    assert answer["frames"][0]["faces"][0]["seam_map"] is None
    assert answer["tracks"][0]["score"] >= answer["tracks"][1]["score"]


def test_a_job_from_its_start_to_its_result(client: TestClient, clip: bytes) -> None:
    response = post(client, clip, **APART)
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['job_id']}"
    assert len(job["job_id"]) == 32
    assert (job["progress"], job["frames_total"], job["result"], job["error"]) == (0, *3 * [None])
    done = ended(client, f"/jobs/{job['job_id']}")
    assert (done["status"], done["stage"], done["progress"]) == ("done", "finished", 1)
    assert (done["frames_done"], done["frames_total"]) == (12, 12)
    assert 0 < done["expires_in_s"] <= 900
    at_once = post(client, clip).json()
    same = ("verdict", "score", "highest_scene", "scenes", "frames", "tracks", "model", "threshold")
    assert {key: done["result"][key] for key in same} == {key: at_once[key] for key in same}
    assert done["result"]["request_id"] == job["request_id"]
    assert client.delete(f"/jobs/{job['job_id']}").status_code == 204
    check_problem(client.get(f"/jobs/{job['job_id']}"), 404)


def test_a_long_video_becomes_a_job(client: TestClient, tmp_path: Path) -> None:
    write_long(tmp_path / "long.mp4", 60)
    response = post(client, (tmp_path / "long.mp4").read_bytes())
    assert response.status_code == 202
    assert "preference-applied" not in response.headers
    assert ended(client, response.headers["location"])["status"] == "done"


def test_a_video_that_hides_its_length_becomes_a_job(client: TestClient, tmp_path: Path) -> None:
    """An MPEG program stream declares none."""
    import av

    with av.open(str(tmp_path / "a.mpg"), "w", format="mpeg") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 208, 160, "yuv420p"
        for face in draw_clip(1, scenes=1, frames_per_scene=15):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(face.rgb, format="rgb24")))
        container.mux(stream.encode())
    response = post(client, (tmp_path / "a.mpg").read_bytes())
    assert response.status_code == 202
    done = ended(client, response.headers["location"])
    assert (done["status"], done["frames_total"]) == ("done", 6)


def test_events_tell_the_progress_and_the_end(client: TestClient, slow: bytes) -> None:
    where = start(client, slow)
    response = client.get(f"{where}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    names, data = events_of(response.text)
    assert len(names) > 2
    assert set(names[:-1]) == {"progress"}
    assert names[-1] == "done"
    assert all("result" not in job for job in data)
    assert {"scenes"} <= {job["stage"] for job in data[:-1]}
    assert [job["progress"] for job in data] == sorted(job["progress"] for job in data)
    assert (data[-1]["status"], data[-1]["progress"], data[-1]["frames_done"]) == ("done", 1, 6)
    assert events_of(client.get(f"{where}/events").text)[0] == ["done"]


def events_of(text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Names and data of the events, in their order."""
    lines = text.splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    return names, data


def test_deleting_a_running_job_ends_everything_of_it(client: TestClient, slow: bytes) -> None:
    before = nameless_files()
    where = start(client, slow)
    child = frozen_reader()
    assert nameless_files() > before
    assert client.delete(where).status_code == 204
    assert not child.is_running()
    assert nameless_files() == before
    check_problem(client.get(where), 404)
    check_problem(client.delete(where), 404)
    check_problem(client.get(f"{where}/events"), 404)


def nameless_files() -> int:
    """How many deleted files this process keeps open."""
    links = Path("/proc/self/fd").iterdir()
    targets = [str(link.readlink()) for link in links if link.is_symlink()]
    return sum(target.endswith("(deleted)") for target in targets)


def test_one_video_at_a_time_and_no_more_than_may_wait(
    client: TestClient, clip: bytes, slow: bytes
) -> None:
    running = start(client, slow)
    child = frozen_reader()
    check_problem(post(client, clip), 503)  # its turn does not come
    waiting = start(client, clip)
    assert client.get(waiting).json()["status"] == "queued"
    response = post(client, clip, **APART)
    check_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert detect(client, png(draw_face(3, face_px=110).rgb)).status_code == 200
    assert client.delete(running).status_code == 204
    assert not child.is_running()
    assert ended(client, waiting)["status"] == "done"
    assert post(client, clip).status_code == 200


def test_jobs_expire(folder: Path, clip: bytes) -> None:
    with opened(folder, job_ttl_s=0.2) as client:
        where = start(client, clip)
        until(lambda: client.get(where).status_code == 404)


def test_unknown_jobs(client: TestClient) -> None:
    for path in ("/jobs/0", "/jobs/" + "0" * 32, "/jobs/x/events"):
        check_problem(client.get(path), 404)
    check_problem(client.delete("/jobs/0"), 404)


def test_a_job_that_fails_says_why(client: TestClient, slow: bytes) -> None:
    where = start(client, slow)
    until(readers)[0].kill()
    job = ended(client, where)
    assert (job["status"], job["result"], job["error"]["status"]) == ("failed", None, 422)
    assert "SIGKILL" in job["error"]["detail"]
    assert events_of(client.get(f"{where}/events").text)[0] == ["failed"]


@pytest.mark.parametrize(
    ("write", "limits", "variable"),
    [
        (write_4k, {"video_memory_mb": 600}, "INSWAPPER_VIDEO_MEMORY_MB"),
        (write_slow, {"video_cpu_s": 1}, "INSWAPPER_VIDEO_CPU_S"),
        (write_4k, {"max_video_s": 0.1}, "INSWAPPER_MAX_VIDEO_S"),
        (write_4k, {"max_image_pixels": 5000}, "INSWAPPER_MAX_IMAGE_PIXELS"),
    ],
)
def test_a_video_that_takes_too_much(
    folder: Path, clip: bytes, tmp_path: Path, write: Any, limits: dict[str, Any], variable: str
) -> None:
    write(tmp_path / "video.mp4")
    with opened(folder, **limits) as client:
        problem = check_problem(post(client, (tmp_path / "video.mp4").read_bytes()), 413)
        assert variable in problem["detail"]
        wall = np.full((60, 60, 3), 90, np.uint8)
        assert detect(client, png(wall)).status_code == 200 or "max_image_pixels" in limits
        assert post(client, clip).status_code == 200 or "max_" in str(limits)


def test_a_hung_reader_is_ended(folder: Path, clip: bytes, slow: bytes) -> None:
    with opened(folder, video_timeout_s=3) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, client, slow)
        frozen_reader()
        problem = check_problem(answer.result(WAIT_S), 413)
        assert "INSWAPPER_VIDEO_TIMEOUT_S" in problem["detail"]
        assert post(client, clip).status_code == 200
        assert detect(client, png(draw_face(3, face_px=110).rgb)).status_code == 200


def test_the_end_of_the_service_ends_its_jobs(folder: Path, slow: bytes) -> None:
    before = nameless_files()
    with opened(folder) as client:
        running, waiting = start(client, slow), start(client, slow)
        child = until(readers)[0]
        assert running != waiting
    assert not child.is_running()
    assert nameless_files() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#EXTM3U\nhttp://127.0.0.1:1/x.ts\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("headers", [{}, APART])
def test_playlists_are_no_videos(
    client: TestClient, content: bytes, headers: dict[str, str]
) -> None:
    check_problem(post(client, content, **headers), 415)


def test_a_damaged_video_does_not_name_our_file(client: TestClient, clip: bytes) -> None:
    problem = check_problem(post(client, clip[:3000]), 422)
    assert "/dev/fd" not in problem["detail"]
    assert "secret" not in json.dumps(problem)


def test_no_temporary_file_stays(
    client: TestClient, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = nameless_files()
    padded = clip + bytes(1_100_000 - len(clip))
    assert post(client, padded).status_code in (200, 422)
    assert post(client, clip[:3000]).status_code == 422
    assert client.delete(start(client, clip)).status_code == 204
    assert list(tmp_path.iterdir()) == []
    assert nameless_files() == before


def test_the_prefer_header() -> None:
    assert wants_job(["wait=10, Respond-Async; x=1"])
    assert wants_job(["wait=10", "respond-async"])
    assert not wants_job(["respond-sync", "return=minimal"])
    assert not wants_job([])


def test_openapi_documents_jobs(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    responses = paths["/detect/video"]["post"]["responses"]
    assert {"200", "202", "400", "408", "413", "415", "422", "429", "500", "503"} == set(responses)
    assert set(responses["202"]["headers"]) == {"Location", "Preference-Applied"}
    assert "404" in paths["/jobs/{job_id}"]["get"]["responses"]
    assert "204" in paths["/jobs/{job_id}"]["delete"]["responses"]
    events = paths["/jobs/{job_id}/events"]["get"]["responses"]["200"]
    assert list(events["content"]) == ["text/event-stream"]
