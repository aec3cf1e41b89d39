"""pipeline.training.network.frequency: fixed maps compared with numpy and OpenCV."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.training.network.frequency import (
    BAND_RADIUS_PX,
    BAND_SIGMAS,
    DCT_STRIDE,
    FLOOR,
    BandMaps,
    BlockDctMaps,
    FrequencyBranch,
    FrequencyKind,
    HighPassMaps,
    Luminance,
    SpectrumMaps,
)
from pipeline.views.aligned import OUTSIDE_FROM
from pipeline.views.preprocess import Preprocess

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


def test_high_pass_of_a_flat_image_is_zero() -> None:
    maps = HighPassMaps()(torch.full((1, 1, 32, 32), 0.7))
    assert maps.shape == (1, 6, 32, 32)
    torch.testing.assert_close(maps, torch.zeros_like(maps), atol=1e-3, rtol=0)


def test_high_pass_energy_is_relative_to_the_crop() -> None:
    # Half the detail everywhere indicates a softer camera, not a swap (above the rounding floor).
    luminance = torch.from_numpy(np.random.default_rng(1).uniform(0, 1, (1, 1, 64, 64))).float()
    sharp, soft = HighPassMaps()(luminance)[:, 3:], HighPassMaps()(0.5 * luminance)[:, 3:]
    torch.testing.assert_close(sharp, soft, atol=0.05, rtol=0)


def test_spectrum_equals_numpys() -> None:
    luminance = np.random.default_rng(2).uniform(0, 1, (16, 16))
    window = np.hanning(16)
    centred = (luminance - luminance.mean()) * np.outer(window, window) / 16
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2(centred)))
    logs = np.log(np.hypot(magnitude, FLOOR) + FLOOR)
    seen = SpectrumMaps(16)(torch.tensor(luminance)[None, None].float())[0, 0].numpy()
    np.testing.assert_allclose(seen, logs - logs.mean(), atol=1e-3)


def test_block_transform_equals_opencvs() -> None:
    luminance = np.random.default_rng(3).uniform(0, 1, (24, 24)).astype(np.float32)
    maps = BlockDctMaps()
    seen = torch.nn.functional.conv2d(
        torch.from_numpy(luminance)[None, None], maps.kernels, stride=DCT_STRIDE
    )
    block = cv2.dct(luminance[8:16, 4:12])
    np.testing.assert_allclose(seen[0, :, 2, 1].numpy(), block.reshape(-1)[1:], atol=1e-5)
    assert maps(torch.from_numpy(luminance)[None, None]).shape == (1, 63, 5, 5)


def band_maps(luminance: np.ndarray) -> np.ndarray:
    size = len(luminance)
    image = torch.from_numpy(luminance)[None, None].float()
    return BandMaps(size)(image)[0].numpy()


def test_band_kernels_are_gaussians_of_unit_sum() -> None:
    kernels = BandMaps(64).kernels[:, 0].double().numpy()
    np.testing.assert_allclose(kernels.sum(axis=1), 1, atol=1e-6)
    steps = np.arange(-BAND_RADIUS_PX, BAND_RADIUS_PX + 1)
    spread = np.sqrt((kernels * steps**2).sum(axis=1))
    assert spread[0] == 0
    np.testing.assert_allclose(spread[2:], BAND_SIGMAS[2:], rtol=0.02)


def test_bands_are_relative_to_the_rim() -> None:
    # A different contrast and brightness indicate a different exposure, not a swap.
    luminance = np.random.default_rng(4).uniform(0, 1, (64, 64)).astype(np.float32)
    seen, dimmed = band_maps(luminance), band_maps(0.3 + 0.5 * luminance)
    assert seen.shape == (BandMaps.channels, 16, 16)
    np.testing.assert_allclose(seen, dimmed, atol=0.1)
    ring = seen[18]
    assert np.abs(seen[:6, ring >= OUTSIDE_FROM].mean(axis=1)).max() < 1e-4


def test_softer_texture_inside_the_square_lowers_its_finest_bands() -> None:
    luminance = np.random.default_rng(5).uniform(0, 1, (128, 128)).astype(np.float32)
    soft = cv2.GaussianBlur(luminance, (0, 0), 1.5)
    luminance[16:112, 16:112] = soft[16:112, 16:112]
    seen = band_maps(luminance)
    inside = seen[18] < 0.8
    fall = seen[:6, inside].mean(axis=1)
    assert fall[0] < -1
    assert (np.diff(fall) > 0).all()
    assert abs(fall[5]) < 0.3 * abs(fall[0])


def test_cell_positions_are_in_half_sides_of_the_paste_square() -> None:
    y, x, ring = BandMaps(64).places.numpy()
    # Cells of 4 px; the square of a 64-px view is 48 px wide.
    np.testing.assert_allclose(x[0], (np.arange(16) * 4 + 2 - 32) / 24, atol=1e-6)
    np.testing.assert_array_equal(y, x.T)
    np.testing.assert_array_equal(ring, np.maximum(np.abs(x), np.abs(y)))


@pytest.mark.parametrize("kind", ["bands", "highpass", "fft", "dct"])
def test_branch_gives_one_feature_vector_per_crop(kind: FrequencyKind) -> None:
    torch.manual_seed(0)
    branch = FrequencyBranch(kind, 24, PREPROCESS).eval()
    both, one = branch(to_batch(noise(1), noise(2))), branch(to_batch(noise(2)))
    assert both.shape == (2, 24)
    torch.testing.assert_close(both[1:], one)
    assert not torch.allclose(both[0], both[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bands", "fft", "dct"])
def test_the_exported_branch_gives_the_same_for_any_batch(
    tmp_path: Path, kind: FrequencyKind
) -> None:
    torch.manual_seed(0)
    branch = FrequencyBranch(kind, 8, PREPROCESS).eval()
    program = torch.onnx.export(
        branch,
        (to_batch(noise(1), noise(2)),),
        dynamo=True,
        opset_version=18,
        input_names=["crops"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "branch.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "branch.onnx")
    for batch in (to_batch(noise(3)), to_batch(noise(4), noise(5), noise(6))):
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
