"""pipeline.ray_map and the two stages on it: a sequential run's bytes, dead workers, errors."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest

from pipeline import crops, frames
from pipeline.crops import CropJob, crop_frames
from pipeline.errors import DetectorError, PipelineError
from pipeline.frames import Extraction, extract_frames
from pipeline.manifest import FrameRow, InputRow
from pipeline.params import ExtractFramesParams, load_params
from pipeline.preprocess import Preprocess
from pipeline.ray_map import connected
from pipeline.workers import worker_map
from tests.imports import ROOT
from tests.processes import free_port
from tests.synthetic import (
    draw_clip,
    draw_face,
    draw_scenery,
    frame_row,
    input_row,
    write_clip,
    write_data_root,
    write_rgb,
    write_swapped_clip,
)

# Ray warns of settings of its own, which nobody has changed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray.data")

LOCAL = "local"
START_S = 60
PARAMS = ExtractFramesParams(
    frames_per_scene=3, scene_threshold=0.35, min_scene_s=0.4, max_skip_frac=0.5
)
CROP_PARAMS = load_params(ROOT / "params.yaml").crop_faces
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its sockets, whose paths must be short, and its logs."""
    if find_spec("ray") is None:
        pytest.skip("needs the extra [scale]")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with patch.dict(os.environ, {"RAY_TMPDIR": str(folder)}):
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def two_workers(ray_folder: Path) -> Iterator[None]:
    """A Ray of this process, which all runs of the module use; nothing of it survives."""
    assert ray_folder.is_dir()
    others = set(psutil.Process().children(recursive=True))
    with connected(LOCAL, workers=2):
        yield
        processes = set(psutil.Process().children(recursive=True)) - others
    assert psutil.wait_procs(processes, timeout=START_S)[1] == []


def files_below(folder: str) -> Files:
    return {str(p): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def real(name: str, seed: int, scenes: int = 2, frames_per_scene: int = 12) -> InputRow:
    path = Path(f"in/{name}.mp4")
    write_clip(path, draw_clip(seed, scenes=scenes, frames_per_scene=frames_per_scene))
    return input_row(video_id=name, identity_id=name, path=str(path))


def videos() -> list[InputRow]:
    """Two originals, a fake that follows one of them, a file that is no video and a still."""
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
    """Three frames of two videos with a face, one without, and one that is no picture."""
    pictures = [draw_face(n).rgb for n in range(3)] + [draw_scenery(5)]
    for number, rgb in enumerate(pictures):
        write_rgb(Path(f"in/{number}.png"), rgb)
    Path("in/4.png").write_bytes(b"no picture")
    names = ["p0", "p0", "p1", "empty", "broken"]
    return [
        frame_row(video_id=name, frame_path=f"in/{number}.png", frame_index=number)
        for number, name in enumerate(names)
    ]


# None in sys.modules makes an import fail as if nothing were installed.
RUN_WITHOUT_RAY = (
    "import runpy, sys; sys.modules['ray'] = None;"
    "runpy.run_module('stages.extract_frames', run_name='__main__')"
)


# These come first: `auto` would find the Ray that the tests after them share.
@pytest.fixture
def listed() -> None:
    """A small data root whose videos are listed."""
    write_data_root(Path("data/sample"), people=2, scenes=1)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    run_python("-m", "stages.list_inputs", check=True)


def environment(**variables: str) -> dict[str, str]:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"INSWAPPER_WORKERS": "2", "INSWAPPER_STAGE_CACHE": "off"}
    return base | settings | {"PYTHONPATH": str(ROOT)} | variables


def run_python(
    *arguments: str, check: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=check,
        timeout=300,
    )


@pytest.mark.usefixtures("listed")
def test_without_the_variable_no_ray_is_needed() -> None:
    done = run_python("-c", RUN_WITHOUT_RAY, INSWAPPER_WORKERS="1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("listed")
def test_a_ray_that_is_not_installed_is_one_line() -> None:
    done = run_python("-c", RUN_WITHOUT_RAY, RAY_ADDRESS="local")
    assert (done.returncode, done.stderr) == (
        2,
        "RAY_ADDRESS is set but Ray is not installed; pip install -e '.[scale]' or unset it\n",
    )


@pytest.mark.slow
@pytest.mark.usefixtures("listed", "ray_folder")
@pytest.mark.parametrize("address", ["auto", "nonsense"])
def test_a_ray_that_is_not_there_is_one_line(address: str) -> None:
    done = run_python("-m", "stages.extract_frames", RAY_ADDRESS=address)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"RAY_ADDRESS: '{address}': cannot be reached (")


@pytest.mark.slow
@pytest.mark.usefixtures("listed")
def test_a_cluster_that_was_started_elsewhere(ray_folder: Path, tmp_path: Path) -> None:
    """Its processes know neither this folder nor this code; a terminal is shown how far it is."""
    stages = ("extract_frames", "crop_faces")
    for stage in stages:
        run_python("-m", f"stages.{stage}", check=True)
    alone = outputs()
    # Loopback and a token for both sides.
    private = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 32,
        "RAY_TMPDIR": str(ray_folder),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    with running_cluster(tmp_path / "elsewhere", private) as address:
        for stage, rows in zip(stages, ("3/3 [", "7/7 ["), strict=True):
            assert rows in run_on_terminal(stage, RAY_ADDRESS=address, **private)
    assert outputs() == alone


def outputs() -> Files:
    return files_below("data/frames") | files_below("data/crops") | files_below("data/manifests")


@contextmanager
def running_cluster(home: Path, variables: dict[str, str]) -> Iterator[str]:
    """The address of a cluster of one node on loopback, which ends with the block."""
    home.mkdir()
    address = f"127.0.0.1:{free_port()}"
    options = ("--num-cpus=2", "--object-store-memory=100000000", "--include-dashboard=false")
    command = ("ray", "start", "--head", "--block", "--disable-usage-stats", *options)
    head = subprocess.Popen(
        [*command, f"--port={address.partition(':')[2]}"],
        executable=Path(sys.executable).parent / "ray",
        cwd=home,
        env=environment(PYTHONPATH="", **variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert head.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in head.stdout)
        yield address
    finally:
        processes = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.communicate()
        assert psutil.wait_procs(processes, timeout=START_S)[1] == []


def run_on_terminal(stage: str, **variables: str) -> str:
    """What a stage shows on a terminal."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other side is closed
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


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


def result_that_cannot_travel(task: int) -> str:
    return lambda: task  # type: ignore[return-value]


def on_ray(function: Callable[[int], str], count: int = 6) -> list[str]:
    with worker_map(1, LOCAL, give_up) as run:
        return list(run(function, range(count)))


@on_two_workers
def test_results_come_in_the_order_of_their_tasks() -> None:
    assert on_ray(square, 40) == [str(n * n) for n in range(40)]
    assert on_ray(square, 0) == []


@on_two_workers
def test_a_process_works_on_many_tasks() -> None:
    processes = {result.split()[0] for result in on_ray(process_of, 20)}
    assert 1 <= len(processes) <= 2
    assert str(os.getpid()) not in processes


@on_two_workers
def test_a_task_that_kills_takes_no_other_with_it() -> None:
    assert on_ray(die_on_three) == ["0", "1", "4", "lost 3", "16", "25"]


@on_two_workers
def test_a_task_whose_worker_is_killed_is_done_again() -> None:
    assert on_ray(die_once_on_each, 3) == ["0", "1", "4"]


@on_two_workers
def test_what_a_task_raises_is_raised() -> None:
    with pytest.raises(DetectorError, match="no such detector") as raised:
        on_ray(fail_on_three)
    assert "in fail_on_three" in "".join(raised.value.__notes__)
    with pytest.raises(AttributeError, match="lambda"):
        on_ray(result_that_cannot_travel)


@on_two_workers
def test_frames_are_those_of_a_sequential_run() -> None:
    rows = videos()
    alone = extract(rows)
    assert [row.reason for row in alone[0].skipped] == ["decode_error", "too_short"]
    assert extract(rows, LOCAL) == alone
    assert extract(rows, LOCAL, Path("stages")) == alone
    warm = extract(rows, LOCAL, Path("stages"))
    assert warm == alone
    assert warm[0].reused == 3


@on_two_workers
def test_crops_are_those_of_a_sequential_run() -> None:
    rows = face_frames()
    alone = crop(rows)
    assert crop(rows, LOCAL) == alone
    assert crop(rows, LOCAL, Path("stages")) == alone


@on_two_workers
def test_a_worker_that_is_killed_changes_nothing() -> None:
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
    """Kill one as soon as the first frame is there, and before all are."""
    deadline = time.monotonic() + START_S
    while not (written := list(Path("frames").rglob("*.png"))):
        assert time.monotonic() < deadline, "no frame was written"
        time.sleep(0.005)
    for process in psutil.Process().children(recursive=True):
        if "MapWorker" in "".join(process.cmdline()) and len(written) < all_frames:
            process.kill()
            killed.append(process.pid)
            return


def extract_or_die(job: frames._Job) -> frames._Outcome:
    """Dies of one video, after it has written a frame of it; of others nothing is changed."""
    if job.video.video_id == "b":
        Path(job.prefix).mkdir(parents=True, exist_ok=True)
        Path(f"{job.prefix}000_000001.png").write_bytes(b"half a fra")
        os.kill(os.getpid(), signal.SIGKILL)
    return frames._extract_video(job)


@on_two_workers
def test_a_video_that_kills_is_a_skipped_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = videos()
    without = extract([row for row in rows if row.video_id != "b"])
    # Only here: a worker imports the module as it is.
    monkeypatch.setattr(frames, "_extract_video", extract_or_die)
    result, files = extract(rows, LOCAL)
    assert files == without[1]
    assert result.rows == without[0].rows
    died = [row for row in result.skipped if row.reason == "worker_died"]
    assert [(row.video_id, row.path, row.stage) for row in died] == [
        ("b", "in/b.mp4", "extract_frames")
    ]
    assert [row for row in result.skipped if row not in died] == without[0].skipped


def crop_or_die(job: CropJob, cache: object, video: crops.Task) -> list[crops._Outcome]:
    done = crops._crop_video(job, cache, video)  # type: ignore[arg-type]
    if video[0][0].video_id == "p1":
        os.kill(os.getpid(), signal.SIGKILL)
    return done


@on_two_workers
def test_a_video_whose_crops_kill_is_skipped_frame_by_frame(
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
def test_a_worker_that_cannot_start_is_one_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setattr(Path, "cwd", lambda: gone)
    with pytest.raises(PipelineError, match=r"Ray gave up \(FileNotFoundError: .*gone"):
        on_ray(square)
