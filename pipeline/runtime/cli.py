"""What every stage script does around its `main`."""

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
    """Run a stage; print a `PipelineError` a line a fault, without a traceback, and exit with 2.

    So do files that are absent, shut or do not fit on the disk. Ctrl-C exits with 130. Any other
    exception is a bug of ours and keeps its traceback.
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
    """OpenCV's packages all own the folder cv2: different versions overwrite parts of each other.

    Raises InstallationError when several are installed and are not of one version.
    """
    opencv = {name: found for name in OPENCV_PACKAGES if (found := _version(name))}
    if len(set(opencv.values())) > 1:
        listed = ", ".join(f"{name} {found}" for name, found in opencv.items())
        raise InstallationError(
            f"two OpenCVs own one folder: {listed}; expected one version. Uninstall them all, then"
            " `make setup` in a new .venv"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _os_error_line(error: OSError) -> str:
    hint = ""
    if error.errno in DISK_FULL:
        hint = "; free some and run it again, finished stages are kept"
    elif isinstance(error, FileNotFoundError):
        hint = "; `dvc repro` makes what stages read"
    return f"{error.filename or 'disk'}: {error.strerror}{hint}"
