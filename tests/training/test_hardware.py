"""pipeline.training.network.hardware: settings are applied, and restored afterwards."""

import cv2
import pytest
import torch

from pipeline.runtime.errors import ParamsError, PipelineError
from pipeline.training.network.hardware import (
    choose_precision,
    device_name,
    keep_freed_memory,
    same_bits,
)


def test_settings_last_as_long_as_the_run() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    with same_bits(threads=3):
        assert torch.get_num_threads() == 3
        assert cv2.getNumThreads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("wanted", ["32-true", "bf16-mixed"])
def test_an_explicit_precision_is_returned(wanted: str) -> None:
    assert choose_precision(wanted) == wanted


def test_auto_is_a_precision_of_this_machine() -> None:
    allowed = {"32-true", "bf16-mixed"} | ({"16-mixed"} if torch.cuda.is_available() else set())
    assert choose_precision("auto") in allowed


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(ParamsError, match="16-mixed needs a GPU"):
        choose_precision("16-mixed")


def test_the_device_is_a_setting_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSWAPPER_DEVICE", raising=False)
    assert device_name() == "auto"
    monkeypatch.setenv("INSWAPPER_DEVICE", "cpu")
    assert device_name() == "cpu"


@pytest.mark.parametrize("value", ["gpu", "cuda:0", "cpu ", "CPU", "2"])
def test_an_unknown_device_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("INSWAPPER_DEVICE", value)
    with pytest.raises(PipelineError, match=rf"INSWAPPER_DEVICE: .*auto, cpu.*, got {value!r}"):
        device_name()


@pytest.mark.parametrize(("value", "module"), [("cuda", "cuda"), ("mps", "backends.mps")])
def test_a_device_that_the_machine_lacks_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, module: str
) -> None:
    monkeypatch.setenv("INSWAPPER_DEVICE", value)
    monkeypatch.setattr(f"torch.{module}.is_available", lambda: True)
    assert device_name() == value
    monkeypatch.setattr(f"torch.{module}.is_available", lambda: False)
    with pytest.raises(PipelineError, match=f"on this machine, got '{value}'"):
        device_name()


def test_memory_settings_are_accepted() -> None:
    keep_freed_memory()
    assert torch.ones(1 << 20).sum() == 1 << 20
