"""pipeline.runtime.ray_map and two stages on it: same bytes, dead workers, errors."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.core.manifest import FrameRow, InputRow
from pipeline.crops import cropping as crops
from pipeline.crops.cropping import CropJob, crop_frames
from pipeline.frames import extraction as frames
from pipeline.frames.extraction import Extraction, extract_frames
from pipeline.runtime.errors import DetectorError, PipelineError
from pipeline.runtime.params import load_params
from pipeline.runtime.ray_map import connected
from pipeline.runtime.sections import ExtractFramesParams
from pipeline.runtime.workers import worker_map
from pipeline.views.preprocess import Preprocess
from tests.support.imports import ROOT
from tests.support.local_ray import START_S, Files, files_below, folder_of_ray
from tests.support.synthetic import (
    draw_clip,
    draw_face,
    draw_scenery,
    frame_row,
    input_row,
    write_clip,
    write_rgb,
    write_swapped_clip,
)

# Ray warns about its own default settings.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray.data"),
    pytest.mark.usefixtures("in_tmp_path"),
]
LOCAL = "local"
PARAMS = ExtractFramesParams(
    frames_per_scene=3, scene_threshold=0.35, min_scene_s=0.4, max_skip_frac=0.5
)
CROP_PARAMS = load_params(ROOT / "params.yaml").crop_faces


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """A Ray used by all tests of this module and stopped afterwards."""
    with folder_of_ray():
        others = set(psutil.Process().children(recursive=True))
        with connected(LOCAL, workers=2):
            yield
            processes = set(psutil.Process().children(recursive=True)) - others
        assert psutil.wait_procs(processes, timeout=START_S)[1] == []


def real(name: str, seed: int, scenes: int = 2, frames_per_scene: int = 12) -> InputRow:
    path = Path(f"in/{name}.mp4")
    write_clip(path, draw_clip(seed, scenes=scenes, frames_per_scene=frames_per_scene))
    return input_row(video_id=name, identity_id=name, path=str(path))


def videos() -> list[InputRow]:
    """Two originals, a fake of one of them, a file that is not a video and a still."""
    path = Path("in/fakes/a.mp4")
    write_swapped_clip(path, draw_clip(1, scenes=2, frames_per_scene=12), 50)
    fake = input_row(
        video_id="inswapper/a",
        identity_id="a",
        original_video_id="a",
        label=1,
        fake_type="inswapper",
        is_inswapper=1,
        path=str(path),
        mask_path="in/fakes/masks/a.mkv",
    )
    Path("in/bad.mp4").write_bytes(b"this is no video")
    bad = input_row(video_id="bad", path="in/bad.mp4")
    return [fake, real("a", 1), bad, real("b", 2), real("brief", 3, scenes=1, frames_per_scene=5)]


def extract(
    rows: list[InputRow], ray_address: str = "", cache_root: Path | None = None
) -> tuple[Extraction, Files]:
    shutil.rmtree("frames", ignore_errors=True)
    result = extract_frames(rows, Path("frames"), PARAMS, 1, cache_root, ray_address)
    return result, files_below("frames")


def crop(rows: list[FrameRow], ray_address: str = "", cache_root: Path | None = None) -> object:
    shutil.rmtree("crops", ignore_errors=True)
    job = CropJob(CROP_PARAMS, Preprocess(64), Path("crops"), cache_root)
    return crop_frames(rows, job, 1, ray_address), files_below("crops")


def face_frames() -> list[FrameRow]:
    """Three frames of two videos with a face, one without, and one that is not an image."""
    images = [draw_face(n).rgb for n in range(3)] + [draw_scenery(5)]
    for number, rgb in enumerate(images):
        write_rgb(Path(f"in/{number}.png"), rgb)
    Path("in/4.png").write_bytes(b"no image")
    names = ["p0", "p0", "p1", "empty", "broken"]
    return [
        frame_row(video_id=name, frame_path=f"in/{number}.png", frame_index=number)
        for number, name in enumerate(names)
    ]


def on_two_workers(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.slow(pytest.mark.usefixtures("two_workers")(test))


def give_up(task: int) -> str:
    return f"lost {task}"


def square(task: int) -> str:
    return str(task * task)


def die_on_three(task: int) -> str:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task)


def die_once_on_each(task: int) -> str:
    marker = Path(f"died-{task}")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task)


def fail_on_three(task: int) -> str:
    if task == 3:
        raise DetectorError("no such detector")
    return square(task)


def process_of(task: int) -> str:
    return f"{os.getpid()} {task}"


def result_that_cannot_be_pickled(task: int) -> str:
    return lambda: task  # type: ignore[return-value]


def on_ray(function: Callable[[int], str], count: int = 6) -> list[str]:
    with worker_map(1, LOCAL, give_up) as run:
        return list(run(function, range(count)))


@on_two_workers
def test_results_keep_the_order_of_their_tasks() -> None:
    assert on_ray(square, 40) == [str(n * n) for n in range(40)]
    assert on_ray(square, 0) == []


@on_two_workers
def test_a_process_runs_many_tasks() -> None:
    processes = {result.split()[0] for result in on_ray(process_of, 20)}
    assert 1 <= len(processes) <= 2
    assert str(os.getpid()) not in processes


@on_two_workers
def test_a_task_that_kills_its_worker_affects_no_other() -> None:
    assert on_ray(die_on_three) == ["0", "1", "4", "lost 3", "16", "25"]


@on_two_workers
def test_a_task_whose_worker_is_killed_is_retried() -> None:
    assert on_ray(die_once_on_each, 3) == ["0", "1", "4"]


@on_two_workers
def test_an_exception_of_a_task_is_raised() -> None:
    with pytest.raises(DetectorError, match="no such detector") as raised:
        on_ray(fail_on_three)
    assert "in fail_on_three" in "".join(raised.value.__notes__)
    with pytest.raises(AttributeError, match="lambda"):
        on_ray(result_that_cannot_be_pickled)


@on_two_workers
def test_frames_equal_those_of_a_sequential_run() -> None:
    rows = videos()
    alone = extract(rows)
    assert [row.reason for row in alone[0].skipped] == ["decode_error", "too_short"]
    assert extract(rows, LOCAL) == alone
    assert extract(rows, LOCAL, Path("stages")) == alone
    warm = extract(rows, LOCAL, Path("stages"))
    assert warm == alone
    assert warm[0].reused == 3


@on_two_workers
def test_crops_equal_those_of_a_sequential_run() -> None:
    rows = face_frames()
    alone = crop(rows)
    assert crop(rows, LOCAL) == alone
    assert crop(rows, LOCAL, Path("stages")) == alone


@on_two_workers
def test_a_killed_worker_does_not_change_the_result() -> None:
    rows = [real(f"v{number}", number) for number in range(8)]
    alone = extract(rows)
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(killed, len(alone[1])))
    shutil.rmtree("frames")
    killer.start()
    assert extract(rows, LOCAL) == alone
    killer.join()
    assert len(killed) == 1


def kill_a_worker(killed: list[int], all_frames: int) -> None:
    """Kill a worker after the first frame was written and before the last."""
    deadline = time.monotonic() + START_S
    while not (written := list(Path("frames").rglob("*.mkv"))):
        assert time.monotonic() < deadline, "no frame was written"
        time.sleep(0.005)
    for process in psutil.Process().children(recursive=True):
        if "MapWorker" in "".join(process.cmdline()) and len(written) < all_frames:
            process.kill()
            killed.append(process.pid)
            return


def extract_or_die(job: frames._Job) -> frames._Outcome:
    """Die on one video after writing one of its frames; other videos are extracted as usual."""
    if job.video.video_id == "b":
        Path(job.prefix).mkdir(parents=True, exist_ok=True)
        Path(f"{job.prefix}000_000001.mkv").write_bytes(b"half a fra")
        os.kill(os.getpid(), signal.SIGKILL)
    return frames._extract_video(job)


@on_two_workers
def test_a_video_that_kills_its_worker_is_a_skipped_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = videos()
    without = extract([row for row in rows if row.video_id != "b"])
    # Only in this process: a worker imports the unpatched module.
    monkeypatch.setattr(frames, "_extract_video", extract_or_die)
    result, files = extract(rows, LOCAL)
    assert files == without[1]
    assert result.rows == without[0].rows
    died = [row for row in result.skipped if row.reason == "worker_died"]
    assert [(row.video_id, row.path, row.stage) for row in died] == [
        ("b", "in/b.mp4", "extract_frames")
    ]
    assert [row for row in result.skipped if row not in died] == without[0].skipped


def crop_or_die(job: CropJob, cache: object, video: crops.VideoFrames) -> list[crops._Outcome]:
    done = crops._crop_video(job, cache, video)  # type: ignore[arg-type]
    if video[0][0].video_id == "p1":
        os.kill(os.getpid(), signal.SIGKILL)
    return done


@on_two_workers
def test_a_video_whose_crops_kill_the_worker_is_skipped_frame_by_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = face_frames()
    without = crop([row for row in rows if row.video_id != "p1"])
    monkeypatch.setattr(crops, "_crop_video", crop_or_die)
    result, files = crop(rows, LOCAL)
    assert files == without[1]
    assert result.rows == without[0].rows
    assert [(row.video_id, row.reason) for row in result.skipped] == [
        ("p1", "worker_died"),
        ("empty", "no_face"),
        ("broken", "decode_error"),
    ]


@on_two_workers
def test_workers_that_cannot_start_give_one_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "cwd", lambda: gone)
    with pytest.raises(PipelineError, match=r"Ray failed \(FileNotFoundError: .*gone"):
        on_ray(square)
