"""pipeline.runtime.portable: which code the libraries select in a stage."""

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from pipeline.core.onnx_sessions import session_options
from pipeline.runtime import portable
from pipeline.runtime.portable import OPENCV, PINNED, PINS, VARIABLE, is_portable, pin_arithmetic
from tests.support.imports import ROOT

# OpenCV marks what it uses with `*` and what the processor lacks, or a variable forbids, with `?`.
ARITHMETIC = """
import sys, cv2, numpy, torch
from numpy._core._multiarray_umath import __cpu_features__ as numpy_has
opencv = [name for name in cv2.getCPUFeaturesLine().split() if "AVX512" in name]
print(all(name.endswith("?") for name in opencv), numpy_has["X86_V4"], numpy_has["X86_V3"])
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables, and restore them after the test."""
    for name in PINNED:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def arithmetic(module: str, **variables: str) -> list[str]:
    """Words that describe what the libraries use after the import of a module."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}\n{ARITHMETIC}"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_stage_computes_with_avx2_and_nothing_wider() -> None:
    assert arithmetic("stages") == ["True", "False", "True", "AVX2"]


def test_the_switch_leaves_the_choice_to_the_libraries() -> None:
    native, switched_off = arithmetic("pipeline"), arithmetic("stages", INSWAPPER_PORTABLE="0")
    assert native == switched_off


def test_a_variable_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    pin_arithmetic()
    assert {name: os.environ[name] for name in PINS} == PINS | {"MKL_CBWR": "AVX2"}


@pytest.mark.parametrize(("flags", "disabled"), [("avx2 avx512f", "AVX512-SKX"), ("avx2", None)])
def test_opencv_is_told_only_what_the_processor_has(
    flags: str, disabled: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(portable, "CPU_INFO", tmp_path / "cpuinfo")
    pin_arithmetic()
    assert os.environ.get(OPENCV) == disabled


def test_onnxruntime_keeps_the_plain_layout_in_stages() -> None:
    levels = onnxruntime.GraphOptimizationLevel
    assert not is_portable()
    assert session_options(1).graph_optimization_level == levels.ORT_ENABLE_ALL
    pin_arithmetic()
    assert is_portable()
    assert session_options(1).graph_optimization_level == levels.ORT_ENABLE_EXTENDED


def test_off_means_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    pin_arithmetic()
    assert not is_portable()
    assert not set(PINS) & set(os.environ)
