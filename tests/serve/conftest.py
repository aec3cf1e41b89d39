"""Fixtures of the tests that send videos to the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.support.bundles import write_bundle
from tests.support.video_requests import opened


@pytest.fixture(scope="module")
def video_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0)


@pytest.fixture(scope="module")
def video_client(video_bundle: Path) -> Iterator[TestClient]:
    """A service that makes a job of every video of more than 2 s."""
    with opened(video_bundle, sync_video_s=2, max_jobs=2, deadline_s=3) as client:
        yield client


@pytest.fixture(scope="module")
def clip_bytes(clip: Path) -> bytes:
    return clip.read_bytes()
