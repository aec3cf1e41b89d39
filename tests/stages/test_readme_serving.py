"""The commands of README files for serving, run as written against a running service."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.support.bundles import write_bundle
from tests.support.imports import ROOT
from tests.support.live_service import live_service
from tests.support.readmes import blocks, commands
from tests.support.synthetic import draw_clip, draw_face, write_clip

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-test"
SERVE = "serve/README.md"
README_ADDRESS = "http://localhost:8000"
# For every curl of the README: fail on errors and print only the response.
CURLRC = "fail-with-body\nsilent\nshow-error\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def address(bundle: Path) -> Iterator[str]:
    with live_service(INSWAPPER_MODEL_PATH=str(bundle), INSWAPPER_ADMIN_TOKEN=TOKEN) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Working folder with the files that the README names and a quiet curl."""
    for person, name in enumerate(("face.jpg", "other.png"), start=1):
        image = draw_face(person, height=260, width=320, face_px=110).rgb
        cv2.imwrite(str(tmp_path / name), image[:, :, ::-1])
    write_clip(tmp_path / "clip.mp4", draw_clip(2, scenes=2, frames_per_scene=15, face_px=80))
    (tmp_path / ".curlrc").write_text(CURLRC)
    return tmp_path


def run(program: list[str], text: str, address: str, folder: Path) -> str:
    environment = {
        "CURL_HOME": str(folder),
        "INSWAPPER_ADMIN_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        program,
        input=text.replace(README_ADDRESS, address),
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outputs(block: str, address: str, folder: Path) -> list[str]:
    """Output of each command of a block."""
    commands = [line for line in block.replace("\\\n", " ").splitlines() if line]
    assert commands
    marked = "\n".join(f"{command}\nprintf '\\036'" for command in commands)
    return run(["bash", "-euo", "pipefail"], marked, address, folder).split("\036")[:-1]


def test_images_and_videos(address: str, folder: Path) -> None:
    image, with_map, batch, video = map(
        json.loads, outputs(blocks(SERVE, "Calls")[0], address, folder)
    )
    assert image["verdict"] in ("real", "suspicious", "fake")
    assert image["faces"][0]["seam_map"] is None
    assert len(with_map["faces"][0]["seam_map"]["values"]) == 32 * 32
    assert [item["status"] for item in batch["items"]] == [200, 200]
    assert len(video["frames"]) == 12


def test_the_main_readme(address: str, folder: Path) -> None:
    image, batch, video = map(
        json.loads, outputs(blocks("README.md", "Serving")[0], address, folder)
    )
    assert image["verdict"] in ("real", "suspicious", "fake")
    assert len(batch["items"]) == 2
    assert len(video["frames"]) == 12


@pytest.mark.parametrize(
    "command",
    [commands("README.md", "Quickstart")[2], commands(SERVE, "Command line")[0]],
)
def test_a_file_from_the_command_line(command: str, bundle: Path, folder: Path) -> None:
    assert command.startswith("python -m serve.predict face.jpg clip.mp4")
    python = f"{sys.executable} -m" + command.removeprefix("python -m")
    printed = run(["bash", "-euc", f"INSWAPPER_MODEL_PATH={bundle} {python}"], "", "", folder)
    assert [name in printed for name in ("face.jpg", "clip.mp4")] == [True, True]


def test_a_video_job(address: str, folder: Path) -> None:
    nothing, state, events, deleted = outputs(blocks(SERVE, "Calls")[1], address, folder)
    assert (nothing, deleted) == ("", "")
    job = json.loads((folder / "answer.json").read_text())
    assert json.loads(state)["job_id"] == job["job_id"]
    assert events.rstrip().rpartition("event: ")[2].startswith("done")


def test_administration_and_metrics(address: str, folder: Path) -> None:
    threshold, reload, metrics = outputs(blocks(SERVE, "Administration")[0], address, folder)
    assert json.loads(threshold)["threshold"]["fake"] == pytest.approx(0.9)
    assert json.loads(reload)["model"]["name"] == "tiny"
    assert "# TYPE" in metrics


def test_the_python_client(address: str, folder: Path) -> None:
    (block,) = blocks(SERVE, "Python client", "python")
    verdict, *numbers = run([sys.executable, "-"], block, address, folder).split()
    assert verdict in ("real", "suspicious", "fake")
    assert all(0 <= float(number) <= 1 for number in numbers)
    assert len(numbers) >= 2
