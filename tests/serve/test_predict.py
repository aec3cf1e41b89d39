"""The command line, serve.records and serve.video.videos, with a real tiny bundle."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from serve.predict import app, printable
from serve.records import find_inputs, identify
from serve.settings import PREFIX
from serve.video.files import is_video
from tests.support.bundles import MODEL_FILE, write_bundle
from tests.support.imports import ROOT
from tests.support.synthetic import draw_face, draw_scene, write_clip
from tests.support.unread_files import HEIC

KEYS = {"path", "kind", "verdict", "score", "error", "warnings"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), gain=2.0)


@pytest.fixture(scope="module")
def face_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "face.png"
    write_image(path, draw_face(3, height=260, width=320, face_px=110).rgb)
    return path


@pytest.fixture(autouse=True)
def app_state(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        if name != "INSWAPPER_CACHE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("INSWAPPER_MODEL_PATH", str(bundle))
    monkeypatch.chdir(tmp_path)


def write_image(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def records(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("--json", *arguments, code=code).stdout.splitlines()]


def test_an_image(face_png: Path) -> None:
    (record,) = records(face_png)
    assert set(record) == KEYS | {"faces"}
    assert (record["path"], record["kind"], record["error"]) == (str(face_png), "image", None)
    assert record["verdict"] in ("real", "suspicious", "fake")
    (face,) = record["faces"]
    assert face["score"] == record["score"]
    assert len(face["keypoints"]) == 5
    assert face["reasons"] == record["warnings"] == []


def test_an_image_without_a_face(tmp_path: Path) -> None:
    Image.new("RGB", (200, 150), (90, 120, 60)).save(tmp_path / "wall.jpg")
    (record,) = records("wall.jpg")
    assert (record["verdict"], record["score"], record["faces"]) == ("no_face", None, [])
    assert record["error"] is None


def test_a_video_scene_by_scene(clip: Path) -> None:
    (record,) = records(clip)
    assert set(record) == KEYS | {"frames", "scenes", "highest_scene", "tracks"}
    assert (record["kind"], record["error"]) == ("video", None)
    spans = [(scene["start_frame"], scene["stop_frame"]) for scene in record["scenes"]]
    assert spans == [(0, 15), (15, 30)]
    assert [frame["scene"] for frame in record["frames"]] == [0] * 6 + [1] * 6
    for frame in record["frames"]:
        assert frame["timestamp_s"] == pytest.approx(frame["frame_index"] / 25, abs=0.002)
    scores = [frame["score"] for frame in record["frames"]]
    assert record["score"] == pytest.approx(np.mean(scores), abs=1e-5)
    per_scene = [np.mean(scores[:6]), np.mean(scores[6:])]
    assert [s["score"] for s in record["scenes"]] == pytest.approx(per_scene, abs=1e-5)
    assert record["highest_scene"] == int(np.argmax(per_scene))
    tracks = sorted(record["tracks"], key=lambda track: track["track"])
    assert [track["score"] for track in tracks] == pytest.approx(per_scene, abs=1e-5)
    assert tracks[1]["faces"] == [{"frame": frame, "face": 0} for frame in range(6, 12)]


def test_a_video_of_a_few_frames_is_one_scene(tmp_path: Path) -> None:
    write_clip(tmp_path / "blink.mp4", draw_scene(2, 4, face_px=90))
    (record,) = records("blink.mp4")
    assert [frame["frame_index"] for frame in record["frames"]] == [1, 2]
    assert record["score"] is not None


def test_frames_of_a_video_are_thinned(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_MAX_VIDEO_FRAMES", "4")
    (record,) = records(clip)
    assert [frame["scene"] for frame in record["frames"]] == [0, 0, 1, 1]
    assert "only 4 of 12 sampled frames were examined" in record["warnings"]


def test_a_video_beyond_the_limits_is_an_error(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_MAX_VIDEO_S", "1")
    (record,) = records(clip, code=1)
    assert record["error"] == "video of 1.2 s is above the limit of 1 s (INSWAPPER_MAX_VIDEO_S)"
    assert (record["kind"], record["frames"], record["score"]) == ("video", [], None)


def test_kind_is_decided_by_content(face_png: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "image.mp4").write_bytes(face_png.read_bytes())
    (tmp_path / "video.png").write_bytes(clip.read_bytes())
    kinds = {Path(r["path"]).name: r["kind"] for r in records("image.mp4", "video.png")}
    assert kinds == {"image.mp4": "image", "video.png": "video"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.jpg", b"not an image at all\n"),
        ("empty.png", b""),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n"),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/hostname\n"),
        ("sdp.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ("random.mp4", bytes(range(256)) * 8),
    ],
)
def test_other_content_is_a_line_with_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (record,) = records(name, code=1)
    assert set(record) == KEYS | {"faces"}
    assert record["error"].startswith("neither an image")
    assert (record["kind"], record["verdict"], record["score"]) == (None, None, None)


def test_a_photo_of_a_phone_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    """In a folder too: it is not left out without a word."""
    (tmp_path / "in").mkdir()
    for name in ("IMG_1.HEIC", "IMG_2.jpg", "clip.mp4"):
        (tmp_path / "in" / name).write_bytes(HEIC)
    found = records("in", code=1)
    assert [Path(record["path"]).name for record in found] == [
        "IMG_1.HEIC",
        "IMG_2.jpg",
        "clip.mp4",
    ]
    expected = "HEIC images are not read; convert this one to PNG or JPEG, for example with"
    for record in found:
        assert record["kind"] is None
        assert record["error"].startswith(expected)


def test_damaged_files_keep_their_kind(face_png: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(face_png.read_bytes()[:3000])
    (tmp_path / "half.mp4").write_bytes(clip.read_bytes()[:2000])
    found = records("half.png", "half.mp4", code=1)
    assert [record["kind"] for record in found] == ["image", "video"]
    assert found[0]["error"] == "damaged or truncated PNG image"
    assert found[1]["error"]
    assert "half.mp4" not in found[1]["error"]


def test_missing_files_and_one_good_one(face_png: Path) -> None:
    missing, good = records("absent.jpg", face_png, code=1)
    assert missing["error"] == "no such file"
    assert good["error"] is None


def test_folders_are_walked_in_sorted_order(tmp_path: Path, face_png: Path, clip: Path) -> None:
    for name in ("b/2.png", "b/1.PNG", "a/9.png", "z.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(face_png.read_bytes())
    (tmp_path / "in/b/clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "in/notes.txt").write_text("ignored")
    expected = ["in/a/9.png", "in/b/1.PNG", "in/b/2.png", "in/b/clip.mp4", "in/z.png"]
    assert [record["path"] for record in records("in")] == expected


def test_explicit_files_are_tried_whatever_their_suffix(tmp_path: Path, face_png: Path) -> None:
    (tmp_path / "upload.bin").write_bytes(face_png.read_bytes())
    (record,) = records("upload.bin")
    assert record["kind"] == "image"


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (record,) = records("empty", code=1)
    assert record["error"] == "this folder contains no images or videos"


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert find_inputs([tmp_path]) == [tmp_path]
    assert identify(tmp_path / "pipe.jpg").error == "not a regular file"


def test_many_inputs_score_as_each_alone(tmp_path: Path) -> None:
    for person in range(5):
        write_image(tmp_path / f"in/{person}.png", draw_face(person, face_px=90).rgb)
    together = records("in")
    alone = [records(record["path"])[0] for record in together]
    assert [r["score"] for r in together] == pytest.approx([r["score"] for r in alone], abs=2e-6)
    assert len({r["score"] for r in together}) == 5


def test_heatmaps_are_written(face_png: Path, clip: Path, tmp_path: Path) -> None:
    image, video = records(face_png, clip, "--heatmap", tmp_path / "maps")
    paths = [image["faces"][0]["heatmap"], video["heatmap"]]
    assert sorted(map(str, (tmp_path / "maps").iterdir())) == sorted(paths)
    assert [cv2.imread(path).shape for path in paths] == [(384, 384, 3)] * 2


def test_a_heatmap_folder_that_is_a_file_is_a_usage_error(face_png: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("")
    assert "--heatmap" in run(face_png, "--heatmap", "maps", code=2).stderr


def test_a_detector_from_the_sample_says_so_in_every_line(face_png: Path, tmp_path: Path) -> None:
    sample = write_bundle(tmp_path / "sample", trained_on="data/sample")
    for record in records(face_png, "absent.jpg", "--model", sample, code=1):
        assert any("embedded sample" in warning for warning in record["warnings"])


def test_the_table(face_png: Path, clip: Path) -> None:
    shown = run(face_png, clip, "absent.jpg", code=1).stdout.splitlines()
    assert len(shown) == 3
    assert str(face_png) in shown[0]
    assert "(1 face)" in shown[0]
    assert "(12 frames of 2 scenes)" in shown[1]
    assert shown[2].startswith("error")
    assert shown[2].endswith("absent.jpg: no such file")


@pytest.mark.parametrize("arguments", [[], ["--unknown", "a.jpg"]])
def test_wrong_usage(arguments: list[str]) -> None:
    run(*arguments, code=2)


def test_a_wrong_setting_names_its_variable(
    face_png: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSWAPPER_THRESHOLD", "high")
    result = run(face_png, code=2)
    assert "INSWAPPER_THRESHOLD" in result.stderr
    assert result.stdout == ""


def test_no_bundle_is_a_clear_error(face_png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSWAPPER_MODEL_PATH")
    error = run(face_png, code=2).stderr
    for place in ("INSWAPPER_MODEL_PATH", "data/release", "data/export"):
        assert place in error


def test_an_altered_bundle_is_refused(face_png: Path, tmp_path: Path) -> None:
    altered = write_bundle(tmp_path / "altered")
    content = bytearray((altered / MODEL_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (altered / MODEL_FILE).write_bytes(bytes(content))
    assert "sha256" in run(face_png, "--model", altered, code=2).stderr


def test_file_names_cannot_write_to_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n.jpg") == "a\\x1b[2Jb\\n.jpg"
    assert printable("\udcff.jpg") == "\\udcff.jpg"


def test_containers_are_known_by_their_start(clip: Path, tmp_path: Path) -> None:
    faces = draw_scene(1, 4, height=96, width=128, face_px=60)
    write_clip(tmp_path / "a.mkv", faces)
    write_clip(tmp_path / "b.mov", faces)
    assert all(is_video(path) for path in (clip, tmp_path / "a.mkv", tmp_path / "b.mov"))
    (tmp_path / "text").write_text("no video " * 200)
    assert not is_video(tmp_path / "text")


@pytest.mark.slow
def test_as_a_program(face_png: Path, tmp_path: Path) -> None:
    """A real process: exit code, one line per record, nothing else on standard output."""
    (tmp_path / "text.jpg").write_text("no image")
    done = subprocess.run(
        [sys.executable, "-m", "serve.predict", face_png, tmp_path / "text.jpg", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["path"], first["error"]) == (str(face_png), None)
    assert second["error"].startswith("neither an image")
    assert done.stderr == ""
