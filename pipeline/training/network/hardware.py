"""Settings of the machine at hand that change the speed of training, or keep its bits the same."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import cv2
import torch

from pipeline.runtime.errors import ParamsError

# mallopt's parameter numbers and values: keep freed blocks up to 1 GiB for the next step.
_MALLOPT: Final = {-3: 1 << 30, -1: 1 << 30, -2: 512 << 20}  # mmap threshold, trim threshold, pad


def choose_precision(wanted: str) -> str:
    """Resolve train.precision "auto": bf16 where the hardware has it, fp16 on old GPUs, else fp32.

    Raises ParamsError for fp16 without a GPU.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "16-mixed" and not has_gpu:
        raise ParamsError("train.precision: 16-mixed needs a GPU; take auto, bf16-mixed or 32-true")
    if wanted != "auto":
        return wanted
    if has_gpu:
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16-mixed" if has_bf16 else "32-true"


def device_name() -> str:
    """Where to train: $INSWAPPER_DEVICE (cpu, cuda, mps), else the best there is."""
    return os.environ.get("INSWAPPER_DEVICE", "") or "auto"


@contextmanager
def same_bits(threads: int) -> Iterator[None]:
    """Deterministic torch on a fixed number of threads, whatever the cores at hand.

    The number of threads decides in which order sums are taken, and so the last bits. On a GPU,
    operations without a deterministic form warn instead of failing. OpenCV is on one thread, which
    loader processes need (`pipeline.training.loop.dataset.init_worker`).
    """
    memory: Any = torch.utils.deterministic
    before, cv2_before = torch.get_num_threads(), cv2.getNumThreads()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Deterministic mode also fills fresh memory with NaN, which takes time and changes no result.
    was_filling, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(cv2_before)
        torch.use_deterministic_algorithms(was_deterministic)
        memory.fill_uninitialized_memory = was_filling


def keep_freed_memory() -> None:
    """Let glibc keep what torch frees, instead of giving it back and faulting it in each step.

    mobilenetv2_100 at 256 px, fp32, two threads: 15 images/s without, 30 with. No-op elsewhere.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for parameter, value in _MALLOPT.items():
        libc.mallopt(parameter, value)
