"""Checkpoints: files of tensors and plain values; equal content gives equal bytes."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.core.files import replacing
from pipeline.runtime.errors import WeightsError
from pipeline.runtime.params import validation_lines
from pipeline.runtime.sections import ModelParams
from pipeline.training.network.model import Detector, build_model
from pipeline.views.preprocess import Preprocess


@dataclass(frozen=True)
class CheckpointMeta:
    """Metadata stored with the weights.

    epoch: counted from 1. metric: product metric on validation, higher is better. quality: the
    thresholds of pipeline.views.quality.
    """

    model: ModelParams
    preprocess: Preprocess
    epoch: int
    metric: float
    quality: dict[str, Any]


def save_detector(path: Path, state: dict[str, Tensor], meta: CheckpointMeta) -> None:
    """Write a detector's weights with the metadata to rebuild it; a temporary file is renamed."""
    content = {
        "model": state,
        "params": {"model": meta.model.model_dump(), "preprocess": meta.preprocess.to_dict()},
        "epoch": meta.epoch,
        "metric": meta.metric,
        "quality": meta.quality,
    }
    write_tensors(path, content)


def load_detector(path: Path) -> tuple[Detector, CheckpointMeta]:
    """Rebuild a saved detector, in eval mode on the CPU.

    Raises WeightsError if the file is missing, damaged or has a different layout.
    """
    content = read_tensors(path)
    try:
        meta = _meta(content)
        model = build_model(meta.model, meta.preprocess)
        model.load_state_dict(content["model"])
    except ValidationError as error:
        raise WeightsError("\n".join(validation_lines(path, error))) from None
    except (KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a checkpoint of this version ({error})") from error
    return model.eval(), meta


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write with torch.save in a canonical form: equal content gives equal bytes.

    pickle writes a shared string or storage once and refers back to it by object identity, and
    identities differ between a resumed and an uninterrupted run. Strings are therefore interned
    and tensors copied.
    """
    buffer = io.BytesIO()
    torch.save(_canonical(content), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a file of `write_tensors` without running code from it. Raises WeightsError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: not found; run the train stage") from None
    except Exception as error:  # a damaged pickle can raise almost any type
        raise WeightsError(f"{path}: damaged or not a checkpoint ({error})") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a dict, got {type(content).__name__}")
    return content


def _meta(content: dict[str, Any]) -> CheckpointMeta:
    params = content["params"]
    preprocess: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in params["preprocess"].items()
    }
    return CheckpointMeta(
        model=ModelParams.model_validate(params["model"]),
        preprocess=Preprocess(**preprocess),
        epoch=int(content["epoch"]),
        metric=float(content["metric"]),
        quality=dict(content["quality"]),
    )


def _canonical(value: Any) -> Any:
    if isinstance(value, Tensor):
        # An explicit copy gets standard strides even where channels_last is ambiguous (1x1).
        plain = torch.empty(value.shape, dtype=value.dtype)
        return plain.copy_(value.detach())
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return sys.intern(value) if isinstance(value, str) else value
