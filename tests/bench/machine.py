"""Description of the machine that measured the benchmark."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from loky import cpu_count

# Vector instructions that determine the speed of networks.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")
PACKAGES = (
    "albumentations",
    "av",
    "insightface",
    "numpy",
    "onnxruntime",
    "opencv-python",
    "scenedetect",
    "torch",
    "zarr",
)


def machine() -> dict[str, Any]:
    """Cores, vector instructions and versions, but nothing that identifies the machine."""
    return {
        "cores": cpu_count(),
        "processor": platform.machine(),
        "flags": [flag for flag in FLAGS if flag in _processor_flags()],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _processor_flags() -> set[str]:
    """CPU flags as listed by Linux (x86: flags, Arm: Features); empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].partition(":")[2].split()) if lines else set()
