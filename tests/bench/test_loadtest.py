"""tests.loadtest: counting and goals, not the service's speed."""

import socket
import threading
from pathlib import Path

import pytest

from tests.loadtest.__main__ import Goal
from tests.loadtest.client import UNANSWERED, Client, open_loop, upload_of
from tests.loadtest.inputs import encoded, photograph
from tests.loadtest.measures import reloads
from tests.loadtest.service import running_service
from tests.loadtest.soak import slope_mb_per_min, soak
from tests.support.bundles import write_bundle


def test_the_slope_leaves_the_settling_time_out() -> None:
    growing = [(float(second), 100 + second / 60) for second in range(200)]
    settling = [(second, 0.0 if second < 60 else megabytes) for second, megabytes in growing]
    assert slope_mb_per_min(settling) == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (1, False, "met"),
        (3, False, "MISSED"),
        (1, True, "MISSED"),
        ([4, 5, 6], False, "MISSED"),
        ({}, False, "met"),
        (None, False, "MISSED"),
    ],
)
def test_goals(value: object, at_least: bool, verdict: str) -> None:
    row = Goal("a goal", "part", "name", 2, at_least).row({"part": {"name": value}})
    assert row.endswith(verdict)


def test_a_connection_closed_without_an_answer_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=lambda: server.accept()[0].close())
        closing.start()
        with Client(server.getsockname()[1]) as client:
            assert client.send("POST", "/detect", b"x" * 10_000_000).status == UNANSWERED
        closing.join()


@pytest.mark.slow
def test_a_whole_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_MODEL_PATH", str(write_bundle(tmp_path / "bundle")))
    image = encoded(photograph(512))
    with running_service(tmp_path) as service:
        upload = upload_of("/detect", "file", [image])
        replies = open_loop(service.port, upload, rate_hz=10, duration_s=1)
        assert [reply.status for reply in replies] == [200] * 10
        assert reloads(service, image, count=2)["errors"] == 0
        found = soak(service, duration_s=1, requests=80)
    assert found["total"] >= 80
    assert found["unexpected"] == {}
    assert (found["temporary_files_left"], found["children_left"]) == (0, 0)
