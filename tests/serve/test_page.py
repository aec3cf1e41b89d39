"""serve.routes.page: files of the review page, their types and their security headers."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serve.main import create_app
from serve.routes.page import HEADERS, PAGE_FILES
from serve.settings import Settings
from tests.support.imports import ROOT

FOLDER = ROOT / "serve" / "page"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    absent = tmp_path_factory.mktemp("none") / "bundle"
    with TestClient(create_app(Settings(model_path=absent))) as opened:
        yield opened


@pytest.mark.parametrize("path", PAGE_FILES)
def test_files_are_served_even_without_a_detector(client: TestClient, path: str) -> None:
    name, media_type = PAGE_FILES[path]
    response = client.get(path)
    assert response.status_code == 200
    assert response.content == (FOLDER / name).read_bytes()
    assert response.headers["content-type"] == media_type
    assert response.headers["x-content-type-options"] == "nosniff"
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", PAGE_FILES)
def test_a_browser_that_has_a_file_gets_304(client: TestClient, path: str) -> None:
    etag = client.get(path).headers["etag"]
    response = client.get(path, headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["content-security-policy"] == HEADERS["content-security-policy"]
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_policy_allows_nothing_inline_and_no_other_host() -> None:
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


def test_the_page_has_nothing_inline_and_names_no_other_host() -> None:
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert re.findall(r"<script[^>]*>[^<]*", html) == ['<script type="module" src="review.js">']
    # The XML namespace of SVG is a name and is never fetched.
    for name in ("index.html", "review.js", "review.css"):
        text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//\w+\.\w", text), name


def test_there_is_nothing_else_in_the_folder(client: TestClient) -> None:
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _ in PAGE_FILES.values()}
    for path in ("/index.html", "/page/index.html", "/..%2fmain.py"):
        assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_the_files_are_in_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["serve"]
    packaged = {path for pattern in patterns for path in Path(ROOT / "serve").glob(pattern)}
    assert set(FOLDER.iterdir()) <= packaged
