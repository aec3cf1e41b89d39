"""The tables of mistakes in README files: each mistake prints the documented line."""

import re
import shutil
import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.bundles import write_bundle
from tests.support.live_service import live_service
from tests.support.pipeline_mistakes import MISTAKES, Mistake, mistake, printed
from tests.support.readmes import section

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("git") or not shutil.which("make"), reason="git, make"),
]
READMES = ("stages/README.md", "serve/README.md")
WITHOUT_A_TEST = "`dvc.lock` has changed after `dvc repro` on another machine"


def symptoms() -> list[str]:
    """First column of the tables of mistakes, as written."""
    tables = [section(path, "When something goes wrong") for path in READMES]
    cells = re.findall(r"^\| (`.*?) \| ", "\n".join(tables), re.MULTILINE)
    return [cell for cell in cells if cell != WITHOUT_A_TEST]


def made_by(symptom: str) -> Mistake:
    (function,) = [made for start, made in MISTAKES.items() if symptom[1:].startswith(start)]
    return function


@pytest.mark.parametrize("symptom", symptoms())
def test_the_mistake_prints_its_line(symptom: str, tmp_path: Path) -> None:
    printed = made_by(symptom)(tmp_path)
    pattern = ".*".join(map(re.escape, re.split(r" ?\.{3} ?", symptom.strip("`"))))
    assert any(re.fullmatch(pattern, line) for line in printed.splitlines()), printed
    assert "Traceback" not in printed


def test_every_mistake_is_in_a_readme_and_none_is_lost() -> None:
    assert len(symptoms()) >= 29
    assert {made_by(symptom) for symptom in symptoms()} == set(MISTAKES.values())


@mistake("nosuch.jpg:")
def wrong_path(folder: Path) -> str:
    bundle = write_bundle(folder / "bundle")
    command = [sys.executable, "-m", "serve.predict", "nosuch.jpg", "--model", str(bundle)]
    return printed(folder, *command).replace("error            -  ", "")


UVICORN = (sys.executable, "-m", "uvicorn", "serve.main:app", "--port")


@mistake("ERROR: INSWAPPER_RATE_PER_MINUTE")
def invalid_setting(folder: Path) -> str:
    shown = printed(folder, *UVICORN, "0", INSWAPPER_RATE_PER_MINUTE="abc")
    return re.sub(" +", " ", shown)


@mistake("... not ready:")
def no_bundle(folder: Path) -> str:
    """The port is in use, so that the service exits after printing the message."""
    return occupied_port(folder, INSWAPPER_MODEL_PATH="data/nowhere")


@mistake("... address already in use")
def port_in_use(folder: Path) -> str:
    return occupied_port(folder, INSWAPPER_MODEL_PATH=str(write_bundle(folder / "bundle")))


def occupied_port(folder: Path, **variables: str) -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        return printed(folder, *UVICORN, str(taken.getsockname()[1]), **variables)


@mistake("... INSWAPPER_ADMIN_TOKEN")
def no_admin_token(folder: Path) -> str:
    with live_service(INSWAPPER_MODEL_PATH=str(write_bundle(folder / "bundle"))) as address:
        answer = httpx.post(f"{address}/admin/reload-model")
    assert answer.status_code == 403
    return answer.text
