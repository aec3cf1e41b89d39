"""Jobs of POST /detect/video: progress, queue, and every way to finish."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from tests.support.service_requests import check_problem, detect
from tests.support.slow_videos import readers, write_slow
from tests.support.synthetic import draw_face, encoded_png
from tests.support.video_requests import (
    APART,
    WAIT_S,
    ended,
    nameless_files,
    opened,
    post,
    start,
    until,
)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video of 5 s, which becomes a job."""
    path = tmp_path_factory.mktemp("videos") / "slow.mp4"
    write_slow(path, times=24)
    return path.read_bytes()


def frozen_reader() -> psutil.Process:
    """The process that is reading a video, stopped until it is killed."""
    (child,) = until(readers)
    child.suspend()
    return child  # type: ignore[no-any-return]


@pytest.mark.slow
def test_a_job_from_its_start_to_its_result(video_client: TestClient, clip_bytes: bytes) -> None:
    response = post(video_client, clip_bytes, **APART)
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['job_id']}"
    assert len(job["job_id"]) == 32
    assert (job["progress"], job["frames_total"], job["result"], job["error"]) == (0, *3 * [None])
    done = ended(video_client, f"/jobs/{job['job_id']}")
    assert (done["status"], done["stage"], done["progress"]) == ("done", "finished", 1)
    assert (done["frames_done"], done["frames_total"]) == (12, 12)
    assert 0 < done["expires_in_s"] <= 900
    at_once = post(video_client, clip_bytes).json()
    same = ("verdict", "score", "highest_scene", "scenes", "frames", "tracks", "model", "threshold")
    assert {key: done["result"][key] for key in same} == {key: at_once[key] for key in same}
    assert done["result"]["request_id"] == job["request_id"]
    assert video_client.delete(f"/jobs/{job['job_id']}").status_code == 204
    check_problem(video_client.get(f"/jobs/{job['job_id']}"), 404)


@pytest.mark.slow
def test_events_report_the_progress_and_the_end(video_client: TestClient, slow: bytes) -> None:
    where = start(video_client, slow)
    response = video_client.get(f"{where}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    names, data = events_of(response.text)
    assert len(names) > 2
    assert set(names[:-1]) == {"progress"}
    assert names[-1] == "done"
    assert all("result" not in job for job in data)
    assert {"scenes"} <= {job["stage"] for job in data[:-1]}
    assert [job["progress"] for job in data] == sorted(job["progress"] for job in data)
    assert (data[-1]["status"], data[-1]["progress"], data[-1]["frames_done"]) == ("done", 1, 6)
    assert events_of(video_client.get(f"{where}/events").text)[0] == ["done"]


def events_of(text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Names and data of the events, in their order."""
    lines = text.splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    return names, data


def test_deleting_a_running_job_ends_everything_of_it(
    video_client: TestClient, slow: bytes
) -> None:
    before = nameless_files()
    where = start(video_client, slow)
    child = frozen_reader()
    assert nameless_files() > before
    assert video_client.delete(where).status_code == 204
    assert not child.is_running()
    assert nameless_files() == before
    check_problem(video_client.get(where), 404)
    check_problem(video_client.delete(where), 404)
    check_problem(video_client.get(f"{where}/events"), 404)


@pytest.mark.slow
def test_one_video_at_a_time_and_no_more_than_may_wait(
    video_client: TestClient, clip_bytes: bytes, slow: bytes
) -> None:
    running = start(video_client, slow)
    child = frozen_reader()
    check_problem(post(video_client, clip_bytes), 503)  # times out in the queue
    waiting = start(video_client, clip_bytes)
    assert video_client.get(waiting).json()["status"] == "queued"
    response = post(video_client, clip_bytes, **APART)
    check_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert detect(video_client, encoded_png(draw_face(3, face_px=110).rgb)).status_code == 200
    assert video_client.delete(running).status_code == 204
    assert not child.is_running()
    assert ended(video_client, waiting)["status"] == "done"
    assert post(video_client, clip_bytes).status_code == 200


@pytest.mark.slow
def test_jobs_expire(video_bundle: Path, clip_bytes: bytes) -> None:
    with opened(video_bundle, job_ttl_s=0.2) as client:
        where = start(client, clip_bytes)
        until(lambda: client.get(where).status_code == 404)


def test_unknown_jobs(video_client: TestClient) -> None:
    for path in ("/jobs/0", "/jobs/" + "0" * 32, "/jobs/x/events"):
        check_problem(video_client.get(path), 404)
    check_problem(video_client.delete("/jobs/0"), 404)


def test_a_job_that_fails_says_why(video_client: TestClient, slow: bytes) -> None:
    where = start(video_client, slow)
    until(readers)[0].kill()
    job = ended(video_client, where)
    assert (job["status"], job["result"], job["error"]["status"]) == ("failed", None, 422)
    assert "SIGKILL" in job["error"]["detail"]
    assert events_of(video_client.get(f"{where}/events").text)[0] == ["failed"]


@pytest.mark.slow
def test_a_hung_reader_is_ended(video_bundle: Path, clip_bytes: bytes, slow: bytes) -> None:
    with opened(video_bundle, video_timeout_s=3) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, client, slow)
        frozen_reader()
        problem = check_problem(answer.result(WAIT_S), 413)
        assert "INSWAPPER_VIDEO_TIMEOUT_S" in problem["detail"]
        assert post(client, clip_bytes).status_code == 200
        assert detect(client, encoded_png(draw_face(3, face_px=110).rgb)).status_code == 200


def test_the_end_of_the_service_ends_its_jobs(video_bundle: Path, slow: bytes) -> None:
    before = nameless_files()
    with opened(video_bundle) as client:
        running, waiting = start(client, slow), start(client, slow)
        child = until(readers)[0]
        assert running != waiting
    assert not child.is_running()
    assert nameless_files() == before
