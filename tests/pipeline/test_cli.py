"""pipeline.runtime.cli: exit codes and error messages of a stage, and the number of workers."""

import errno
import subprocess
import sys

import pytest

from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import ManifestError, PipelineError
from pipeline.runtime.workers import worker_count


def fail(error: BaseException) -> None:
    raise error


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run_stage(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_pipeline_errors_have_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run_stage(lambda: fail(ManifestError("a.csv: row 2\na.csv: row 3")))
    assert raised.value.code == 2
    assert capsys.readouterr() == ("", "a.csv: row 2\na.csv: row 3\n")


def test_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        run_stage(lambda: fail(KeyboardInterrupt()))
    assert raised.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: fail(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file", "a.csv"),
            "a.csv: No such file; `dvc repro` creates the files that stages read",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), "a.csv: Permission denied"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "disk: No space left on device; free some space and run again,"
            " finished stages are kept",
        ),
    ],
)
def test_unavailable_files_are_reported_on_one_line(
    capsys: pytest.CaptureFixture[str], error: OSError, line: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        run_stage(lambda: fail(error))
    assert raised.value.code == 2
    assert capsys.readouterr() == ("", f"{line}\n")


def test_other_os_errors_keep_their_traceback() -> None:
    with pytest.raises(OSError, match="Broken pipe"):
        run_stage(lambda: fail(OSError(errno.EPIPE, "Broken pipe")))


def test_a_process_exits_with_the_code() -> None:
    code = (
        "from pipeline.runtime.cli import run_stage\n"
        "from pipeline.runtime.errors import SplitError\n"
        "def main():\n    raise SplitError('no groups')\n"
        "run_stage(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "no groups\n")


def test_workers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", "7")
    assert worker_count() == 7


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " ", "²", "9" * 5000])
def test_invalid_numbers_of_workers(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("INSWAPPER_WORKERS", value)
    with pytest.raises(PipelineError, match=f"INSWAPPER_WORKERS: .*at least 1, got {value!r}"):
        worker_count()


def test_workers_default_to_the_cpu_count_of_loky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSWAPPER_WORKERS", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert worker_count() == 1
