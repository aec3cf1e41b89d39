"""Reading and validating params.yaml.

DVC does not check types: `dvc exp run -S train.lr=abc` writes the string, `-S +train.nope=1` adds a
key. Therefore every stage validates the whole file and reports all faults at once, one per line.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.runtime.errors import ParamsError
from pipeline.runtime.sections import (
    AuditParams,
    AugmentParams,
    BuildSampleParams,
    CalibrateParams,
    CropFacesParams,
    DataParams,
    EvaluateParams,
    ExportParams,
    ExtractFramesParams,
    FusionParams,
    ModelParams,
    PackZarrParams,
    PreprocessParams,
    PseudoSwapParams,
    SeamParams,
    SplitGroupsParams,
    StrictModel,
    TrainParams,
)

PARAMS_PATH = Path("params.yaml")


class Params(StrictModel):
    """The whole params.yaml."""

    data: DataParams
    build_sample: BuildSampleParams
    extract_frames: ExtractFramesParams
    preprocess: PreprocessParams
    crop_faces: CropFacesParams
    split_groups: SplitGroupsParams
    audit: AuditParams
    pack_zarr: PackZarrParams
    model: ModelParams
    pseudo_swap: PseudoSwapParams
    augment: AugmentParams
    seam: SeamParams
    train: TrainParams
    fusion: FusionParams
    calibrate: CalibrateParams
    evaluate: EvaluateParams
    export: ExportParams


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 booleans and floats that rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            at = f"{node.start_mark.name}: line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise ParamsError(f"{at}: expected a name as key, got {key!r}")
            if key in seen:
                raise ParamsError(f"{at}: duplicate key {key!r}")
            seen.add(key)
        return super().construct_mapping(node, deep)


# PyYAML follows YAML 1.1, where `off` is false; DVC writes YAML 1.2, where it is text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# PyYAML follows YAML 1.1, where 1e-05 (what `dvc exp run -S train.lr=1e-05` writes) is a string.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def load_params(path: Path = PARAMS_PATH) -> Params:
    """Read and validate params.yaml.

    Raises ParamsError with one line per fault: `params.yaml: train.lr: Input should be a valid
    number (got 'abc')`.
    """
    return validated(read_sections(path), path)


def read_sections(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, values unchecked. Raises ParamsError naming the file."""
    try:
        with path.open(encoding="utf-8") as stream:
            loader = _Loader(stream)
            loader.name = str(path)
            try:
                raw = loader.get_single_data()
            finally:
                loader.dispose()
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the repository's root") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(raw).__name__}")
    return raw


def validated(sections: dict[str, Any], path: Path) -> Params:
    """Parameters from sections. path: named in errors. Raises ParamsError as `load_params` does."""
    try:
        params = Params.model_validate(sections)
    except ValidationError as error:
        raise ParamsError("\n".join(validation_lines(path, error))) from None
    if faults := _contradictions(params):
        raise ParamsError("\n".join(f"{path}: {fault}" for fault in faults))
    return params


def _contradictions(params: Params) -> list[str]:
    """Contradictions between sections, as `key: message`."""
    faults = []
    crop_faces, scales = params.crop_faces, params.preprocess.scales
    if crop_faces.context_scale < scales[-1]:
        faults.append(
            "crop_faces.context_scale: must be at least the largest of preprocess.scales,"
            f" {scales[-1]:g} (got {crop_faces.context_scale:g})"
        )
    known = [*(f"{scale:g}x" for scale in scales), "aligned"]
    if unknown := [view for view in params.model.views if view not in known]:
        faults.append(f"model.views: {unknown[0]!r} is not one of {', '.join(known)}")
    if crop_faces.detector in ("mediapipe", "yolo_face") and not crop_faces.model_file:
        faults.append(f"crop_faces.model_file: {crop_faces.detector} requires the path of a model")
    if params.model.weights == "file" and not params.model.weights_file:
        faults.append("model.weights_file: expected a path, because model.weights is file")
    return faults


def validation_lines(path: Path | str, error: ValidationError) -> list[str]:
    """One line per fault: `file: key.path: message (got value)`."""
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "(top level)"
        # The project's own rules ("value_error") already print the values.
        quiet = fault["type"] in ("missing", "value_error")
        got = "" if quiet else f" (got {fault['input']!r:.80})"
        lines.append(f"{path}: {key}: {fault['msg'].removeprefix('Value error, ')}{got}")
    return lines
