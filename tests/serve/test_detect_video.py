"""POST /detect/video through a real application with a real tiny bundle."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from serve.routes.video import wants_job
from tests.support.service_requests import check_problem, detect
from tests.support.slow_videos import write_long
from tests.support.synthetic import draw_clip, encoded_png
from tests.support.unread_files import HEIC
from tests.support.video_requests import APART, ended, nameless_files, opened, post, start


def test_a_short_video_is_answered_at_once(video_client: TestClient, clip_bytes: bytes) -> None:
    response = post(video_client, clip_bytes)
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


def test_a_long_video_becomes_a_job(video_client: TestClient, tmp_path: Path) -> None:
    write_long(tmp_path / "long.mp4", 60)
    response = post(video_client, (tmp_path / "long.mp4").read_bytes())
    assert response.status_code == 202
    assert "preference-applied" not in response.headers
    assert ended(video_client, response.headers["location"])["status"] == "done"


def test_a_video_that_hides_its_length_becomes_a_job(
    video_client: TestClient, tmp_path: Path
) -> None:
    """The header of an MPEG program stream states no length."""
    import av

    with av.open(str(tmp_path / "a.mpg"), "w", format="mpeg") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 208, 160, "yuv420p"
        for face in draw_clip(1, scenes=1, frames_per_scene=15):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(face.rgb, format="rgb24")))
        container.mux(stream.encode())
    response = post(video_client, (tmp_path / "a.mpg").read_bytes())
    assert response.status_code == 202
    done = ended(video_client, response.headers["location"])
    assert (done["status"], done["frames_total"]) == ("done", 6)


@pytest.mark.parametrize(
    ("video", "limits", "variable"),
    [
        pytest.param(
            *("large_video", {"video_memory_mb": 600}, "INSWAPPER_VIDEO_MEMORY_MB"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "slow_video", {"video_cpu_s": 1}, "INSWAPPER_VIDEO_CPU_S", marks=pytest.mark.slow
        ),
        ("large_video", {"max_video_s": 0.1}, "INSWAPPER_MAX_VIDEO_S"),
        ("large_video", {"max_image_pixels": 5000}, "INSWAPPER_MAX_IMAGE_PIXELS"),
    ],
)
def test_a_video_that_takes_too_much(
    video_bundle: Path,
    clip_bytes: bytes,
    video: str,
    limits: dict[str, Any],
    variable: str,
    request: pytest.FixtureRequest,
) -> None:
    content = request.getfixturevalue(video).read_bytes()
    with opened(video_bundle, **limits) as client:
        problem = check_problem(post(client, content), 413)
        assert variable in problem["detail"]
        wall = np.full((60, 60, 3), 90, np.uint8)
        assert detect(client, encoded_png(wall)).status_code == 200 or "max_image_pixels" in limits
        assert post(client, clip_bytes).status_code == 200 or "max_" in str(limits)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#EXTM3U\nhttp://127.0.0.1:1/x.ts\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        HEIC,
    ],
)
@pytest.mark.parametrize("headers", [{}, APART])
def test_playlists_and_images_are_no_videos(
    video_client: TestClient, content: bytes, headers: dict[str, str]
) -> None:
    check_problem(post(video_client, content, **headers), 415)


def test_a_damaged_video_does_not_name_our_file(
    video_client: TestClient, clip_bytes: bytes
) -> None:
    problem = check_problem(post(video_client, clip_bytes[:3000]), 422)
    assert "/dev/fd" not in problem["detail"]
    assert "secret" not in json.dumps(problem)


def test_no_temporary_file_stays(
    video_client: TestClient, clip_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = nameless_files()
    padded = clip_bytes + bytes(1_100_000 - len(clip_bytes))
    assert post(video_client, padded).status_code in (200, 422)
    assert post(video_client, clip_bytes[:3000]).status_code == 422
    assert video_client.delete(start(video_client, clip_bytes)).status_code == 204
    assert list(tmp_path.iterdir()) == []
    assert nameless_files() == before


def test_the_prefer_header() -> None:
    assert wants_job(["wait=10, Respond-Async; x=1"])
    assert wants_job(["wait=10", "respond-async"])
    assert not wants_job(["respond-sync", "return=minimal"])
    assert not wants_job([])


def test_openapi_documents_jobs(video_client: TestClient) -> None:
    paths = video_client.get("/openapi.json").json()["paths"]
    responses = paths["/detect/video"]["post"]["responses"]
    assert {"200", "202", "400", "408", "413", "415", "422", "429", "500", "503"} == set(responses)
    assert set(responses["202"]["headers"]) == {"Location", "Preference-Applied"}
    assert "404" in paths["/jobs/{job_id}"]["get"]["responses"]
    assert "204" in paths["/jobs/{job_id}"]["delete"]["responses"]
    events = paths["/jobs/{job_id}/events"]["get"]["responses"]["200"]
    assert list(events["content"]) == ["text/event-stream"]
