"""Frequency branch: fixed maps of the luminance, computed inside the graph, then a small CNN.

Every map is relative to its own crop (its mean over the crop is taken off): the level of detail
says how sharp the camera was, only the differences inside the crop say what was pasted in.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.preprocess import Preprocess

FrequencyKind = Literal["highpass", "fft", "dct"]

# Rec. 601 luma, the one JPEG and H.264 use.
LUMA = (0.299, 0.587, 0.114)
# Residuals below half a grey level are rounding, not detail.
FLOOR = 0.5 / 255
CELL_PX = 4
DCT_SIDE = 8
DCT_STRIDE = 4


class Luminance(nn.Module):
    """Normalised RGB back to luminance: (N, 3, H, W) -> (N, 1, H, W), about [0, 1]."""

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        luma = np.array(LUMA)
        weight = torch.tensor(luma * preprocess.std, dtype=torch.float32).reshape(1, 3, 1, 1)
        bias = torch.tensor([float(luma @ preprocess.mean)], dtype=torch.float32)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias)


class HighPassMaps(nn.Module):
    """Three fixed residuals of the luminance, signed and as log energy in cells of 4 px.

    (N, 1, H, W) -> (N, 6, H, W), sides multiples of 4. The kernels are a Laplacian, the 5x5 kernel
    of the spatial rich models (Fridrich and Kodovsky 2012) and the picture minus its Gaussian blur.
    """

    channels = 6
    steps = 4

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", torch.tensor(_high_pass_kernels()), persistent=False)
        self.kernels: Tensor

    def forward(self, luminance: Tensor) -> Tensor:
        padded = functional.pad(luminance, (3, 3, 3, 3), mode="reflect")
        residual = functional.conv2d(padded, self.kernels)  # (N, 3, H, W)
        # Cells, not a sliding window: that took 7 of the detector's 29 ms a crop on one core.
        energy = _relative(functional.avg_pool2d(residual.abs(), CELL_PX))
        wide = functional.interpolate(energy, scale_factor=CELL_PX, mode="nearest")
        return torch.cat([8 * residual, wide], dim=1)


class SpectrumMaps(nn.Module):
    """Log magnitude of the windowed 2-D Fourier transform, zero frequency in the middle.

    (N, 1, S, S) -> (N, 1, S, S), as products with fixed matrices, so that it exports.
    """

    channels = 1
    steps = 4

    def __init__(self, size_px: int) -> None:
        super().__init__()
        cosine, sine = _fourier_matrices(size_px)
        self.register_buffer("cosine", torch.tensor(cosine), persistent=False)
        self.register_buffer("sine", torch.tensor(sine), persistent=False)
        self.cosine: Tensor
        self.sine: Tensor

    def forward(self, luminance: Tensor) -> Tensor:
        centred = luminance - luminance.mean(dim=(2, 3), keepdim=True)
        rows_cosine = self.cosine @ centred
        rows_sine = self.sine @ centred
        real = rows_cosine @ self.cosine.T - rows_sine @ self.sine.T
        imaginary = rows_cosine @ self.sine.T + rows_sine @ self.cosine.T
        return _relative((real.square() + imaginary.square() + FLOOR**2).sqrt())


class BlockDctMaps(nn.Module):
    """Log magnitude of the 63 changing coefficients of 8x8 block cosine transforms.

    (N, 1, S, S) -> (N, 63, S/4 - 1, S/4 - 1): blocks every 4 px, so a JPEG grid has no fixed phase.
    """

    channels = DCT_SIDE**2 - 1
    steps = 2

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", torch.tensor(_dct_kernels()), persistent=False)
        self.kernels: Tensor

    def forward(self, luminance: Tensor) -> Tensor:
        return _relative(functional.conv2d(luminance, self.kernels, stride=DCT_STRIDE).abs())


class FrequencyBranch(nn.Module):
    """Normalised RGB (N, 3, S, S) -> features (N, dim) of the maps of one kind."""

    def __init__(self, kind: FrequencyKind, dim: int, preprocess: Preprocess) -> None:
        super().__init__()
        self.luminance = Luminance(preprocess)
        self.maps = _build_maps(kind, preprocess.size_px)
        layers: list[nn.Module] = []
        channels = self.maps.channels
        for step in range(self.maps.steps):
            wider = 16 << (step + 4 - self.maps.steps)
            layers += _downsample(channels, wider)
            channels = wider
        layers += [nn.Conv2d(channels, dim, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()]
        self.cnn = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        with _full_precision(x):
            maps = self.maps(self.luminance(x.float()))
        features: Tensor = self.cnn(maps).mean(dim=(2, 3))
        return features


def _build_maps(kind: FrequencyKind, size_px: int) -> HighPassMaps | SpectrumMaps | BlockDctMaps:
    if kind == "highpass":
        return HighPassMaps()
    return SpectrumMaps(size_px) if kind == "fft" else BlockDctMaps()


def _downsample(channels: int, wider: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(wider), nn.ReLU()]


def _relative(magnitude: Tensor) -> Tensor:
    """Log of a magnitude, less its mean over the crop."""
    logs = (magnitude + FLOOR).log()
    return logs - logs.mean(dim=(2, 3), keepdim=True)


def _full_precision(x: Tensor) -> AbstractContextManager[None]:
    """Residuals of a few grey levels vanish in bfloat16; no-op (and untraced) without autocast."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def _high_pass_kernels() -> NDArray[np.float32]:
    """(3, 1, 7, 7), each summing to zero."""
    laplacian = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]) / 4
    rich = np.array(
        [
            [-1, 2, -2, 2, -1],
            [2, -6, 8, -6, 2],
            [-2, 8, -12, 8, -2],
            [2, -6, 8, -6, 2],
            [-1, 2, -2, 2, -1],
        ]
    )
    gaussian = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    gaussian /= gaussian.sum()
    unsharp = -np.outer(gaussian, gaussian)
    unsharp[3, 3] += 1
    kernels = [np.pad(laplacian, 2), np.pad(rich / 12, 1), unsharp]
    return np.stack(kernels)[:, None].astype(np.float32)


def _fourier_matrices(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine and sine of the centred transform with a Hann window: two (size, size) matrices."""
    frequency = np.arange(size) - size // 2
    angle = 2 * np.pi * np.outer(frequency, np.arange(size)) / size
    window = np.hanning(size) / np.sqrt(size)
    return (np.cos(angle) * window).astype(np.float32), (-np.sin(angle) * window).astype(np.float32)


def _dct_kernels() -> NDArray[np.float32]:
    """Orthonormal 8x8 cosine transform without its constant term: (63, 1, 8, 8)."""
    index = np.arange(DCT_SIDE)
    basis = np.cos(np.pi * np.outer(index, 2 * index + 1) / (2 * DCT_SIDE))
    basis *= np.sqrt(2 / DCT_SIDE)
    basis[0] /= np.sqrt(2)
    products = np.einsum("iy,jx->ijyx", basis, basis).reshape(-1, 1, DCT_SIDE, DCT_SIDE)
    kernels: NDArray[np.float32] = products[1:].astype(np.float32)
    return kernels
