"""serve.client: video jobs of the real service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.client import Client, Job, ServiceError
from tests.support.bundles import write_bundle
from tests.support.live_service import live_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"))
    with live_service(INSWAPPER_MODEL_PATH=str(bundle)) as address, Client(address) as opened:
        yield opened


def check_forgotten(job: Job) -> None:
    with pytest.raises(ServiceError) as raised:
        job.refresh()
    assert raised.value.status == 404


def test_a_video_is_waited_for(client: Client, clip: Path) -> None:
    seen: list[dict[str, Any]] = []
    answer = client.detect_video(clip, progress=seen.append)
    assert len(answer["frames"]) == 12
    assert seen[0]["status"] in ("queued", "running")
    assert (seen[-1]["status"], seen[-1]["progress"]) == ("done", 1)
    fractions = [state["progress"] for state in seen]
    assert fractions == sorted(fractions)


def test_a_finished_job_is_forgotten(client: Client, clip: Path) -> None:
    with client.start_video(clip) as job:
        answer = job.result()
    assert answer["score"] == pytest.approx(client.detect_video(clip.read_bytes())["score"])
    check_forgotten(job)
    job.cancel()


def test_ctrl_c_cancels_the_job(client: Client, clip: Path) -> None:
    def interrupt(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), client.start_video(clip) as job:
        job.result(interrupt)
    check_forgotten(job)


def test_a_job_that_fails(client: Client, clip: Path) -> None:
    content = clip.read_bytes()
    damaged = content[: len(content) // 2] + bytes(len(content) // 2)
    with pytest.raises(ServiceError) as raised:
        client.detect_video(damaged)
    assert raised.value.status == 422
    assert raised.value.request_id


def test_what_is_no_video_is_refused_at_once(client: Client) -> None:
    with pytest.raises(ServiceError) as raised:
        client.start_video(b"no video")
    assert raised.value.status == 415
