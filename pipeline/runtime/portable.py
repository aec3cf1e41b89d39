"""Arithmetic with the same results on every x86-64 processor with AVX2.

The libraries select their code by the processor: wider vectors add in a different order, and MKL
and IPP also look at the vendor. Variables of the environment make all of them select what every
processor with AVX2 has. They are read when a library is loaded, so `stages/__init__.py` sets them
before a stage imports anything else, and worker processes inherit them.
"""

import os
from pathlib import Path
from typing import Final

# `0` leaves the choice to the libraries, for a long training on one kind of processor.
VARIABLE: Final = "INSWAPPER_PORTABLE"
PINS: Final = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENCV_IPP": "avx2",
}
OPENCV: Final = "OPENCV_CPU_DISABLE"
PINNED: Final = (VARIABLE, OPENCV, *PINS)
CPU_INFO: Final = Path("/proc/cpuinfo")


def pin_arithmetic() -> None:
    """Set the variables, unless $INSWAPPER_PORTABLE is `0`; a variable that is set already stays.

    Does nothing to libraries that are imported already.
    """
    if os.environ.setdefault(VARIABLE, "1") == "0":
        return
    for name, value in PINS.items():
        os.environ.setdefault(name, value)
    # OpenCV prints a line for every feature that the processor does not have.
    if CPU_INFO.exists() and "avx512f" in CPU_INFO.read_text():
        os.environ.setdefault(OPENCV, "AVX512-SKX")


def is_portable() -> bool:
    """Whether this process computes portably, as all stages do by default."""
    return os.environ.get(VARIABLE, "0") != "0"
