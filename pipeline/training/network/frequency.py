"""Frequency branch: fixed maps of the luminance, computed inside the graph, then a small CNN.

Each map has its mean over the crop or over the crop's rim subtracted. The absolute level of detail
shows how sharp the camera was; only differences inside the crop show what was pasted in.
"""

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional

from pipeline.views.aligned import OUTSIDE_FROM, SQUARE_FRAC
from pipeline.views.preprocess import Preprocess

FrequencyKind = Literal["bands", "highpass", "fft", "dct"]

# Rec. 601 luma, as in JPEG and H.264.
LUMA = (0.299, 0.587, 0.114)
# Residuals below half a grey level are rounding errors, not detail.
FLOOR = 0.5 / 255
CELL_PX = 4
DCT_SIDE = 8
DCT_STRIDE = 4
# The bands are differences of Gaussians with these standard deviations, as in pipeline.seam.rings,
# in pixels of a view whose paste square is 192 px wide.
BAND_SIGMAS = (0.0, 0.6, 0.9, 1.275, 1.8, 2.55, 3.6)
BAND_RADIUS_PX = 10
# Energy that 8-bit rounding adds to a band.
BAND_NOISE = 0.02 / 255**2
BAND_WIDTHS = (24, 48, 96, 192)


class Luminance(nn.Module):
    """Luminance of normalised RGB: (N, 3, H, W) -> (N, 1, H, W), about [0, 1]."""

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
    """Three fixed high-pass residuals of the luminance, and their log energy in cells of 4 px.

    (N, 1, H, W) -> (N, 6, H, W), where H and W are multiples of 4. The kernels are a Laplacian, the
    5x5 kernel of the spatial rich models (Fridrich and Kodovsky 2012) and the image minus its
    Gaussian blur.
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
        # Cells, because a sliding window took 7 of the detector's 29 ms per crop on one core.
        energy = _relative(functional.avg_pool2d(residual.abs(), CELL_PX))  # (N, 3, H/4, W/4)
        wide = functional.interpolate(energy, scale_factor=CELL_PX, mode="nearest")  # (N, 3, H, W)
        return torch.cat([8 * residual, wide], dim=1)


class SpectrumMaps(nn.Module):
    """Log magnitude of the windowed 2-D Fourier transform, with the zero frequency in the middle.

    (N, 1, S, S) -> (N, 1, S, S), computed as products with fixed matrices, which ONNX can export.
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
        rows_cosine = self.cosine @ centred  # (N, 1, S, S), transformed along the columns
        rows_sine = self.sine @ centred
        real = rows_cosine @ self.cosine.T - rows_sine @ self.sine.T
        imaginary = rows_cosine @ self.sine.T + rows_sine @ self.cosine.T
        return _relative((real.square() + imaginary.square() + FLOOR**2).sqrt())


class BlockDctMaps(nn.Module):
    """Log magnitude of the 63 AC coefficients of 8x8 block cosine transforms.

    (N, 1, S, S) -> (N, 63, S/4 - 1, S/4 - 1). Blocks start every 4 px, so the maps do not depend on
    where a JPEG grid begins.
    """

    channels = DCT_SIDE**2 - 1
    steps = 2

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", torch.tensor(_dct_kernels()), persistent=False)
        self.kernels: Tensor

    def forward(self, luminance: Tensor) -> Tensor:
        return _relative(functional.conv2d(luminance, self.kernels, stride=DCT_STRIDE).abs())


class BandMaps(nn.Module):
    """Texture energy in six frequency bands and cells of 4 px, relative to the view's rim.

    (N, 1, S, S) -> (N, 19, S/4, S/4). In the aligned view, the rim is the area outside the paste
    square. Channels 0 to 5: log energy of six differences of Gaussians, finest first, minus its
    mean over the rim. Channels 6 to 15: sharpness of the rim, constant over the map, as the five
    finer bands minus the coarsest, first by mean log energy, then by log mean energy. Channels 16
    to 18: position of the cell as y, x and max(|y|, |x|), in half sides of the paste square.
    """

    channels = 19

    def __init__(self, size_px: int) -> None:
        super().__init__()
        y, x, ring = _cell_positions(size_px)
        rim = ring >= OUTSIDE_FROM
        self.register_buffer("kernels", torch.tensor(_gaussian_kernels()), persistent=False)
        self.register_buffer("places", torch.tensor(np.stack([y, x, ring])), persistent=False)
        weights = (rim / rim.sum()).astype(np.float32)
        self.register_buffer("rim", torch.tensor(weights), persistent=False)
        self.kernels: Tensor
        self.places: Tensor
        self.rim: Tensor

    def forward(self, luminance: Tensor) -> Tensor:
        padded = functional.pad(luminance, (BAND_RADIUS_PX,) * 4, mode="reflect")
        count = len(self.kernels)
        rows = functional.conv2d(padded, self.kernels[:, :, None, :])  # (N, 7, S + 20, S)
        blurred = functional.conv2d(rows, self.kernels[:, :, :, None], groups=count)  # (N, 7, S, S)
        bands = blurred[:, :-1] - blurred[:, 1:]  # (N, 6, S, S), finest first
        energy = functional.avg_pool2d(bands.square(), CELL_PX)
        logs = 0.5 * (energy + BAND_NOISE).log()  # (N, 6, S/4, S/4)
        level = (logs * self.rim).sum(dim=(2, 3), keepdim=True)  # (N, 6, 1, 1)
        power = (energy * self.rim).sum(dim=(2, 3), keepdim=True)
        power = 0.5 * (power + BAND_NOISE).log()
        sharpness = [level[:, :-1] - level[:, -1:], power[:, :-1] - power[:, -1:]]
        batch, _, height, width = logs.shape  # len() would fix the batch size in the exported graph
        around = torch.cat(sharpness, dim=1).expand(-1, -1, height, width)  # (N, 10, S/4, S/4)
        return torch.cat([logs - level, around, self.places.expand(batch, -1, -1, -1)], dim=1)


class FrequencyBranch(nn.Module):
    """Features of one kind of frequency map: normalised RGB (N, 3, S, S) -> (N, dim)."""

    def __init__(self, kind: FrequencyKind, dim: int, preprocess: Preprocess) -> None:
        super().__init__()
        self.luminance = Luminance(preprocess)
        self.maps = _build_maps(kind, preprocess.size_px)
        if isinstance(self.maps, BandMaps):
            layers, channels = _residual_layers(self.maps.channels)
        else:
            layers, channels = _plain_layers(self.maps.channels, self.maps.steps)
        layers += [nn.Conv2d(channels, dim, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()]
        self.cnn = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        with _full_precision(x):
            maps = self.maps(self.luminance(x.float()))
        features: Tensor = self.cnn(maps).mean(dim=(2, 3))
        return features


def _build_maps(
    kind: FrequencyKind, size_px: int
) -> BandMaps | HighPassMaps | SpectrumMaps | BlockDctMaps:
    if kind == "bands":
        return BandMaps(size_px)
    if kind == "highpass":
        return HighPassMaps()
    return SpectrumMaps(size_px) if kind == "fft" else BlockDctMaps()


def _plain_layers(channels: int, steps: int) -> tuple[list[nn.Module], int]:
    """`steps` convolutions that each halve the side, and the number of output channels."""
    layers: list[nn.Module] = []
    for step in range(4 - steps, 4):
        layers += _convolution(channels, 16 << step, stride=2)
        channels = 16 << step
    return layers, channels


def _residual_layers(channels: int) -> tuple[list[nn.Module], int]:
    """A convolution and four residual blocks, and the number of output channels.

    All blocks but the first halve the side.
    """
    first = BAND_WIDTHS[0]
    layers = [*_convolution(channels, first, stride=1), BasicBlock(first, first)]
    for narrow, wide in pairwise(BAND_WIDTHS):
        shortcut = nn.Sequential(
            nn.Conv2d(narrow, wide, 1, stride=2, bias=False), nn.BatchNorm2d(wide)
        )
        layers.append(BasicBlock(narrow, wide, stride=2, downsample=shortcut))
    return layers, BAND_WIDTHS[-1]


def _convolution(channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]


def _relative(magnitude: Tensor) -> Tensor:
    """Log of a magnitude minus its mean over the crop; (N, C, H, W) in and out."""
    logs = (magnitude + FLOOR).log()
    return logs - logs.mean(dim=(2, 3), keepdim=True)


def _full_precision(x: Tensor) -> AbstractContextManager[None]:
    """Disable autocast, because bfloat16 loses residuals of a few grey levels.

    Without autocast this does nothing and leaves no trace in the exported graph.
    """
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def _gaussian_kernels() -> NDArray[np.float32]:
    """Gaussian kernels (7, 1, 21), one per standard deviation; the first is the identity."""
    steps = np.arange(-BAND_RADIUS_PX, BAND_RADIUS_PX + 1)
    rows = [np.exp(-0.5 * (steps / max(sigma, 1e-3)) ** 2) for sigma in BAND_SIGMAS]
    return np.stack([row / row.sum() for row in rows])[:, None].astype(np.float32)


def _cell_positions(size_px: int) -> tuple[NDArray[np.float32], ...]:
    """y, x and max(|y|, |x|) of every cell relative to the view's middle, each (S/4, S/4).

    The unit is half a side of the paste square.
    """
    steps = (np.arange(size_px // CELL_PX) + 0.5) * CELL_PX - size_px / 2
    halves = (steps / (SQUARE_FRAC * size_px / 2)).astype(np.float32)
    y, x = np.meshgrid(halves, halves, indexing="ij")
    return y, x, np.maximum(np.abs(y), np.abs(x))


def _high_pass_kernels() -> NDArray[np.float32]:
    """High-pass kernels (3, 1, 7, 7); each sums to zero."""
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
    """Cosine and sine matrices (size, size) of the centred transform, with a Hann window."""
    frequency = np.arange(size) - size // 2
    angle = 2 * np.pi * np.outer(frequency, np.arange(size)) / size
    window = np.hanning(size) / np.sqrt(size)
    return (np.cos(angle) * window).astype(np.float32), (-np.sin(angle) * window).astype(np.float32)


def _dct_kernels() -> NDArray[np.float32]:
    """Kernels (63, 1, 8, 8) of the orthonormal 8x8 cosine transform, without the DC term."""
    index = np.arange(DCT_SIDE)
    basis = np.cos(np.pi * np.outer(index, 2 * index + 1) / (2 * DCT_SIDE))
    basis *= np.sqrt(2 / DCT_SIDE)
    basis[0] /= np.sqrt(2)
    products = np.einsum("iy,jx->ijyx", basis, basis).reshape(-1, 1, DCT_SIDE, DCT_SIDE)
    kernels: NDArray[np.float32] = products[1:].astype(np.float32)
    return kernels
