"""pipeline.training.frequency: the fixed maps against numpy and OpenCV."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.preprocess import Preprocess
from pipeline.training.frequency import (
    DCT_STRIDE,
    FLOOR,
    BlockDctMaps,
    FrequencyBranch,
    FrequencyKind,
    HighPassMaps,
    Luminance,
    SpectrumMaps,
)

PREPROCESS = Preprocess(size_px=64)


def noise(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def to_batch(*crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(PREPROCESS.to_input(np.stack(crops)))


def test_luminance_undoes_the_normalisation() -> None:
    crop = noise()
    expected = crop.astype(np.float64) @ (0.299, 0.587, 0.114) / 255
    seen = Luminance(PREPROCESS)(to_batch(crop))[0, 0].numpy()
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_high_pass_kernels_sum_to_zero() -> None:
    kernels = HighPassMaps().kernels
    assert kernels.shape == (3, 1, 7, 7)
    torch.testing.assert_close(kernels.sum(dim=(1, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)


def test_high_pass_of_a_flat_picture_is_zero() -> None:
    maps = HighPassMaps()(torch.full((1, 1, 32, 32), 0.7))
    assert maps.shape == (1, 6, 32, 32)
    torch.testing.assert_close(maps, torch.zeros_like(maps), atol=1e-3, rtol=0)


def test_high_pass_energy_is_relative_to_the_crop() -> None:
    # Above the rounding floor, half the detail everywhere is a softer camera and not a swap.
    luminance = torch.from_numpy(np.random.default_rng(1).uniform(0, 1, (1, 1, 64, 64))).float()
    sharp, soft = HighPassMaps()(luminance)[:, 3:], HighPassMaps()(0.5 * luminance)[:, 3:]
    torch.testing.assert_close(sharp, soft, atol=0.05, rtol=0)


def test_spectrum_is_numpys() -> None:
    luminance = np.random.default_rng(2).uniform(0, 1, (16, 16))
    window = np.hanning(16)
    centred = (luminance - luminance.mean()) * np.outer(window, window) / 16
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2(centred)))
    logs = np.log(np.hypot(magnitude, FLOOR) + FLOOR)
    seen = SpectrumMaps(16)(torch.tensor(luminance)[None, None].float())[0, 0].numpy()
    np.testing.assert_allclose(seen, logs - logs.mean(), atol=1e-3)


def test_block_transform_is_opencvs() -> None:
    luminance = np.random.default_rng(3).uniform(0, 1, (24, 24)).astype(np.float32)
    maps = BlockDctMaps()
    seen = torch.nn.functional.conv2d(
        torch.from_numpy(luminance)[None, None], maps.kernels, stride=DCT_STRIDE
    )
    block = cv2.dct(luminance[8:16, 4:12])
    np.testing.assert_allclose(seen[0, :, 2, 1].numpy(), block.reshape(-1)[1:], atol=1e-5)
    assert maps(torch.from_numpy(luminance)[None, None]).shape == (1, 63, 5, 5)


@pytest.mark.parametrize("kind", ["highpass", "fft", "dct"])
def test_branch_gives_one_feature_vector_a_crop(kind: FrequencyKind) -> None:
    torch.manual_seed(0)
    branch = FrequencyBranch(kind, 24, PREPROCESS).eval()
    both, one = branch(to_batch(noise(1), noise(2))), branch(to_batch(noise(2)))
    assert both.shape == (2, 24)
    torch.testing.assert_close(both[1:], one)
    assert not torch.allclose(both[0], both[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fft", "dct"])
def test_the_exported_branch_gives_the_same(tmp_path: Path, kind: FrequencyKind) -> None:
    torch.manual_seed(0)
    branch = FrequencyBranch(kind, 8, PREPROCESS).eval()
    batch = to_batch(noise())
    program = torch.onnx.export(
        branch, (batch,), dynamo=True, opset_version=18, input_names=["crops"], verbose=False
    )
    assert program is not None
    program.save(tmp_path / "branch.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "branch.onnx")
    (seen,) = session.run(None, {"crops": batch.numpy()})
    np.testing.assert_allclose(seen, branch(batch).detach().numpy(), atol=1e-5)


def test_maps_stay_in_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    branch = FrequencyBranch("highpass", 8, PREPROCESS).eval()
    seen = []
    branch.cnn[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    batch = to_batch(noise())
    branch(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        branch(batch.bfloat16().float())
    assert seen[1].dtype == torch.float32
    torch.testing.assert_close(
        seen[1], HighPassMaps()(Luminance(PREPROCESS)(batch.bfloat16().float()))
    )
