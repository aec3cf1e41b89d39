"""The detector: an RGB backbone and a frequency branch, with four heads and a seam map."""

from typing import Any, Final

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.runtime.errors import WeightsError
from pipeline.runtime.sections import ModelParams
from pipeline.training.network.frequency import FrequencyBranch
from pipeline.views.preprocess import Preprocess

QUALITY_CLASSES: Final = 3
SEAM_MAP_PX: Final = 32
SEAM_STRIDE: Final = 8
SEAM_DIM: Final = 64
HEADS: Final = ("real_fake", "inswapper", "boundary", "quality", "seam_map")


class Detector(nn.Module):
    """Network that scores face crops, each by itself.

    forward: normalised RGB (N, 3, S, S) -> dict of logits: real_fake, inswapper, boundary (N,),
    quality (N, 3), seam_map (N, 32, 32). The seam map is high where 4a(1-a) is high, for a paste of
    opacity a.
    """

    def __init__(self, params: ModelParams, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = preprocess
        backbone = create_backbone(params.backbone, preprocess.size_px)
        width = int(backbone.head_hidden_size)
        self.backbone = backbone
        self.seam_index = _seam_index(backbone)
        same = width == params.rgb_dim
        self.project = nn.Identity() if same else nn.Linear(width, params.rgb_dim)
        joined_dim = params.rgb_dim
        self.frequency: FrequencyBranch | None = None
        if params.frequency != "off":
            self.frequency = FrequencyBranch(params.frequency, params.frequency_dim, preprocess)
            joined_dim += params.frequency_dim
        # The features of the two branches differ in magnitude; without this the larger dominates.
        self.norm = nn.LayerNorm(joined_dim)
        self.mlp = nn.Sequential(
            nn.Linear(joined_dim, params.hidden_dim), nn.GELU(), nn.Dropout(params.dropout)
        )
        self.real_fake = nn.Linear(params.hidden_dim, 1)
        self.inswapper = nn.Linear(params.hidden_dim, 1)
        self.boundary = nn.Linear(params.hidden_dim, 1)
        self.quality = nn.Linear(params.hidden_dim, QUALITY_CLASSES)
        self.seam_map = _seam_head(backbone.feature_info[self.seam_index]["num_chs"])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        final, maps = self.backbone.forward_intermediates(
            x, indices=[self.seam_index], output_fmt="NCHW"
        )
        joined = self.project(self.backbone.forward_head(final, pre_logits=True))  # (N, rgb_dim)
        if self.frequency is not None:
            joined = torch.cat([joined, self.frequency(x)], dim=1)  # (N, rgb_dim + frequency_dim)
        hidden = self.mlp(self.norm(joined))  # (N, hidden_dim)
        return {
            "real_fake": self.real_fake(hidden).squeeze(1),
            "inswapper": self.inswapper(hidden).squeeze(1),
            "boundary": self.boundary(hidden).squeeze(1),
            "quality": self.quality(hidden),
            "seam_map": _to_seam_size(self.seam_map(maps[0])).squeeze(1),
        }


def build_model(params: ModelParams, preprocess: Preprocess) -> Detector:
    """Build a detector with random weights (pipeline.training.network.weights fills the backbone).

    Raises WeightsError if timm does not know the backbone or it has no feature maps.
    """
    return Detector(params, preprocess)


def create_backbone(name: str, size_px: int, *, pretrained: bool = False) -> Any:
    """Build a timm model (nn.Module) without a classifier, for square images of `size_px`.

    Raises WeightsError if timm does not know the name or the model has no feature maps.
    """
    if not timm.is_model(name):
        close = (
            ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
        )
        raise WeightsError(
            f"model.backbone: timm {timm.__version__} has no {name!r} (near: {close})"
        )
    options: dict[str, Any] = {"num_classes": 0, "pretrained": pretrained}
    config = timm.models.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = size_px
    backbone = timm.create_model(name, **options)
    if not hasattr(backbone, "forward_intermediates"):
        raise WeightsError(
            f"model.backbone: {name!r} has no intermediate feature maps; choose another"
        )
    return backbone


def _seam_index(backbone: Any) -> int:
    """Index of the deepest feature map with the stride nearest to 8: 32x32 for a 256-px crop."""
    strides = [stage["reduction"] for stage in backbone.feature_info]
    return min(range(len(strides)), key=lambda i: (abs(strides[i] - SEAM_STRIDE), -i))


def _seam_head(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, SEAM_DIM, 3, padding=1), nn.GELU(), nn.Conv2d(SEAM_DIM, 1, 1)
    )


def _to_seam_size(maps: Tensor) -> Tensor:
    if maps.shape[-2:] == (SEAM_MAP_PX, SEAM_MAP_PX):
        return maps
    return functional.interpolate(maps, (SEAM_MAP_PX, SEAM_MAP_PX), mode="bilinear")
