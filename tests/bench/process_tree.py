"""Time and memory of a process with all its descendants."""

import resource
from contextlib import suppress

import psutil


def processor_seconds() -> float:
    """CPU seconds of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_bytes(pid: int, *, proportional: bool) -> int:
    """Memory of a process and its descendants; 0 if it has ended.

    proportional: a page that n processes share counts as 1/n in each (only on Linux, and slower to
    read); otherwise it counts once per process.
    """
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        tree = (top, *top.children(recursive=True))
        return sum(_own_bytes(process, proportional) for process in tree)
    return 0


def _own_bytes(process: psutil.Process, proportional: bool) -> int:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        memory = process.memory_full_info() if proportional else process.memory_info()
        return int(getattr(memory, "pss", memory.rss))  # only Linux has pss
    return 0
