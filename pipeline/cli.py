"""What every stage script does around its `main`."""

import os
import sys
from collections.abc import Callable

from pipeline.errors import PipelineError

USAGE_ERROR = 2
INTERRUPTED = 130


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage; print a `PipelineError` a line a fault, without a traceback, and exit with 2.

    Ctrl-C exits with 130. Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        main()
    except PipelineError as error:
        print(error, file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def worker_count(variable: str = "INSWAPPER_WORKERS") -> int:
    """Processes to use: the environment variable, else the cores this process may run on (>= 1).

    It changes speed and never results, which is why it is not in params.yaml.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    value = os.environ.get(variable, "")
    if not value:
        return max(1, cores or 1)
    if not value.isdigit() or int(value) < 1:
        raise PipelineError(f"{variable}: expected a whole number of at least 1, got {value!r}")
    return int(value)
