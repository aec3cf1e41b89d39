"""Command-line behaviour shared by all stage scripts: error reporting and exit codes."""

import errno
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from pipeline.runtime.errors import InstallationError, PipelineError

USAGE_ERROR = 2
INTERRUPTED = 130
OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage; on a `PipelineError`, print its faults without a traceback and exit with 2.

    Missing files, permission errors and a full disk also exit with 2. Ctrl-C exits with 130. Any
    other exception is a bug and keeps its traceback.
    """
    try:
        require_one_opencv()
        main()
    except PipelineError as error:
        print(error, file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except OSError as error:
        if error.errno not in DISK_FULL and error.filename is None:
            raise
        print(_os_error_line(error), file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def require_one_opencv() -> None:
    """Raise InstallationError when OpenCV packages of different versions are installed.

    All of them install into the folder cv2, so different versions overwrite parts of each other.
    """
    opencv = {name: found for name in OPENCV_PACKAGES if (found := _version(name))}
    if len(set(opencv.values())) > 1:
        listed = ", ".join(f"{name} {found}" for name, found in opencv.items())
        raise InstallationError(
            f"conflicting OpenCV packages: {listed}; expected one version. Uninstall all of them,"
            " then run `make setup` in a new .venv"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _os_error_line(error: OSError) -> str:
    hint = ""
    if error.errno in DISK_FULL:
        hint = "; free some space and run again, finished stages are kept"
    elif isinstance(error, FileNotFoundError):
        hint = "; `dvc repro` creates the files that stages read"
    return f"{error.filename or 'disk'}: {error.strerror}{hint}"
