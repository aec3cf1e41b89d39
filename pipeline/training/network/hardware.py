"""Machine settings that affect the speed of training or make its results reproducible."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import cv2
import torch

from pipeline.runtime.errors import ParamsError, PipelineError

# mallopt's parameter numbers and values: keep freed blocks up to 1 GiB for the next step.
_MALLOPT: Final = {-3: 1 << 30, -1: 1 << 30, -2: 512 << 20}  # mmap threshold, trim threshold, pad


def choose_precision(wanted: str) -> str:
    """Resolve train.precision "auto": bf16 if supported, fp16 on older GPUs, else fp32.

    Raises ParamsError for fp16 without a GPU.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "16-mixed" and not has_gpu:
        raise ParamsError("train.precision: 16-mixed needs a GPU; use auto, bf16-mixed or 32-true")
    if wanted != "auto":
        return wanted
    if has_gpu:
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16-mixed" if has_bf16 else "32-true"


def device_name() -> str:
    """Device to train on: $INSWAPPER_DEVICE (cpu, cuda, mps), or "auto" for the best available.

    Raises PipelineError for any other value and for a device that this machine lacks.
    """
    wanted = os.environ.get("INSWAPPER_DEVICE", "") or "auto"
    gpus = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    usable = ["auto", "cpu", *(name for name, is_available in gpus.items() if is_available)]
    if wanted not in usable:
        raise PipelineError(
            f"INSWAPPER_DEVICE: expected one of {', '.join(usable)} on this machine, got {wanted!r}"
        )
    return wanted


@contextmanager
def same_bits(threads: int) -> Iterator[None]:
    """Run torch deterministically on a fixed number of threads, however many cores there are.

    The number of threads determines the order of summation, which changes the last bits of a
    result. On a GPU, operations without a deterministic implementation warn instead of failing.
    OpenCV uses one thread, as loader processes need (`pipeline.training.loop.dataset.init_worker`).
    """
    memory: Any = torch.utils.deterministic
    before, cv2_before = torch.get_num_threads(), cv2.getNumThreads()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Deterministic mode also fills new memory with NaN, which takes time and changes no result.
    was_filling, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(cv2_before)
        torch.use_deterministic_algorithms(was_deterministic)
        memory.fill_uninitialized_memory = was_filling


def keep_freed_memory() -> None:
    """Make glibc keep freed memory, so that pages are not returned and faulted in at every step.

    mobilenetv2_100 at 256 px, fp32, two threads: 30 images/s, and 15 without this. Does nothing on
    other C libraries.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in _MALLOPT.items():
        libc.mallopt(parameter, value)
