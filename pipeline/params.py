"""params.yaml, read strictly.

DVC has no types: `dvc exp run -S train.lr=abc` writes the string, `-S +train.nope=1` adds a key. So
the whole file is validated by every stage, and all faults are reported at once, one a line.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ParamsError

PARAMS_PATH = Path("params.yaml")

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
JpegQuality = Annotated[int, Field(ge=1, le=100)]
Crf = Annotated[int, Field(ge=0, le=51)]


class Section(BaseModel):
    """A frozen section of params.yaml; unknown keys and other types are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class DataParams(Section):
    root: Annotated[str, Field(min_length=1)]


class BuildSampleParams(Section):
    seed: Seed
    width_px: Annotated[int, Field(ge=160, le=1920, multiple_of=2)]
    height_px: Annotated[int, Field(ge=160, le=1080, multiple_of=2)]
    fps: Annotated[int, Field(ge=5, le=60)]
    crf: Annotated[int, Field(ge=0, le=51)]
    max_people: Annotated[int, Field(ge=6)]
    min_face_px: Annotated[int, Field(ge=40)]
    scenes_min: Annotated[int, Field(ge=1)]
    scenes_max: Annotated[int, Field(ge=1)]
    scene_s: Annotated[float, Field(ge=0.3)]
    uniface_frac: Fraction
    cross_identity_frac: Fraction
    stills_per_person: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _ordered(self) -> "BuildSampleParams":
        _require_ordered(self, "scenes_min", "scenes_max")
        return self


class ExtractFramesParams(Section):
    frames_per_scene: Count
    scene_threshold: OpenFraction
    min_scene_s: Positive
    max_skip_frac: Fraction


class PreprocessParams(Section):
    size_px: Annotated[int, Field(ge=64, le=1024, multiple_of=32)]
    scales: Annotated[list[Annotated[float, Field(ge=1, le=4)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> "PreprocessParams":
        if self.scales != sorted(set(self.scales)):
            raise ValueError(f"scales must ascend without repetition, got {self.scales}")
        return self


class CropFacesParams(Section):
    detector: Literal["insightface", "retinaface", "mediapipe", "yolo_face", "opencv_haar"]
    pack: Annotated[str, Field(min_length=1)]
    model_file: str
    min_score: OpenFraction
    min_face_px: Annotated[int, Field(ge=16)]
    max_faces: Count
    context_scale: Annotated[float, Field(ge=1, le=4)]
    context_max_px: Annotated[int, Field(ge=128, le=2048)]
    boundary_min_seam_frac: OpenFraction
    boundary_min_sigma: Positive
    quality_quantiles: Annotated[list[OpenFraction], Field(min_length=2, max_length=2)]
    max_skip_frac: Fraction

    @model_validator(mode="after")
    def _descending(self) -> "CropFacesParams":
        moderate, heavy = self.quality_quantiles
        if heavy >= moderate:
            raise ValueError(f"quality_quantiles must descend, got {self.quality_quantiles}")
        return self


class SplitGroupsParams(Section):
    seed: Seed
    val_frac: OpenFraction
    test_frac: OpenFraction
    test_sources: list[Annotated[str, Field(min_length=1)]]

    @model_validator(mode="after")
    def _leaves_training(self) -> "SplitGroupsParams":
        if self.val_frac + self.test_frac >= 1:
            raise ValueError(
                "val_frac + test_frac must stay below 1, or nothing is left to train on"
            )
        return self


class PackZarrParams(Section):
    crops_per_shard: Count


class ModelParams(Section):
    views: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    backbone: Annotated[str, Field(min_length=1)]
    weights: Literal["hub", "file", "package", "none"]
    weights_file: str
    frequency: Literal["bands", "highpass", "fft", "dct", "off"]
    rgb_dim: Count
    frequency_dim: Count
    hidden_dim: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]


class PseudoSwapParams(Section):
    frac: Fraction
    cross_identity_frac: Fraction
    hull_frac: Fraction
    box_frac: Fraction
    restorer_frac: Fraction
    occlusion_frac: Fraction
    boost_frac: Fraction
    black_border_frac: Fraction
    low_pass_frac: Fraction
    low_pass_min_px: Annotated[int, Field(ge=16, le=128)]
    low_pass_max_px: Annotated[int, Field(ge=16, le=128)]
    soften_real_frac: Fraction
    soft_camera_frac: Fraction
    resize_frac: Fraction
    square_min_px: Annotated[int, Field(ge=64)]
    square_max_px: Annotated[int, Field(ge=64)]
    tight_frac: Fraction
    keypoint_jitter: Annotated[float, Field(ge=0, le=0.1)]

    @model_validator(mode="after")
    def _ordered(self) -> "PseudoSwapParams":
        _require_ordered(self, "low_pass_min_px", "low_pass_max_px")
        _require_ordered(self, "square_min_px", "square_max_px")
        if self.hull_frac + self.box_frac > 1:
            raise ValueError("hull_frac + box_frac must not exceed 1; the rest are squares")
        return self


class AugmentParams(Section):
    flip_frac: Fraction
    clean_frac: Fraction
    jpeg_frac: Fraction
    jpeg_min: JpegQuality
    jpeg_max: JpegQuality
    second_jpeg_frac: Fraction
    x264_frac: Fraction
    x264_crf_min: Crf
    x264_crf_max: Crf
    resize_frac: Fraction
    resize_min: OpenFraction
    noise_frac: Fraction
    gaussian_blur_frac: Fraction
    motion_blur_frac: Fraction
    colour_jitter_frac: Fraction
    sharpen_frac: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "AugmentParams":
        _require_ordered(self, "jpeg_min", "jpeg_max")
        _require_ordered(self, "x264_crf_min", "x264_crf_max")
        if self.x264_frac + self.jpeg_frac > 1:
            raise ValueError("x264_frac + jpeg_frac must not exceed 1; the rest is not compressed")
        return self


class SeamParams(Section):
    """The boosted trees on numbers along the seam."""

    pairs: Count
    seeds: Annotated[list[Seed], Field(min_length=1)]
    trees: Count
    leaves: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    l2: NonNegative
    feature_frac: Annotated[float, Field(gt=0, le=1)]


class TrainParams(Section):
    seed: Seed
    epochs: Count
    pairs_per_epoch: Count
    source_power: Fraction
    tight_pairs_frac: Fraction
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]
    accumulate: Count
    lr: Positive
    backbone_lr_scale: Positive
    full_lr_scale: Positive
    weight_decay: NonNegative
    warmup_epochs: NonNegative
    min_lr_frac: Fraction
    clip_norm: Positive
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    threads: Count
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    frozen_epochs: Annotated[int, Field(ge=0)]
    last_stages_until_epoch: Annotated[int, Field(ge=0)]
    patience: Count
    val_faces: Annotated[int, Field(ge=2)]
    focal_gamma: NonNegative
    loss_real_fake: NonNegative
    loss_inswapper: NonNegative
    loss_boundary: NonNegative
    loss_quality: NonNegative
    loss_seam_map: NonNegative

    @model_validator(mode="after")
    def _phases_in_order(self) -> "TrainParams":
        _require_ordered(self, "frozen_epochs", "last_stages_until_epoch")
        _require_ordered(self, "warmup_epochs", "epochs")
        return self


class FusionParams(Section):
    real_fake: Fraction
    inswapper: Fraction
    boundary: Fraction

    @model_validator(mode="after")
    def _sums_to_one(self) -> "FusionParams":
        total = self.real_fake + self.inswapper + self.boundary
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the three weights must sum to 1, got {total:.6g}")
        return self


class CalibrateParams(Section):
    fusion: Literal["fixed", "learned"]
    low_fpr: OpenFraction
    suspicious_fpr: OpenFraction
    sweep_steps: Annotated[int, Field(ge=19)]
    min_face_px: Annotated[int, Field(ge=16)]
    min_surroundings_frac: OpenFraction
    confidence: OpenFraction
    soft_frac: OpenFraction

    @model_validator(mode="after")
    def _ordered(self) -> "CalibrateParams":
        _require_ordered(self, "low_fpr", "suspicious_fpr")
        return self


class EvaluateParams(Section):
    seed: Seed
    bootstrap: Annotated[int, Field(ge=100)]
    compressed_jpeg: JpegQuality
    low_quality_px: Annotated[int, Field(ge=16)]
    ladder_faces: Annotated[int, Field(ge=4)]


class ExportParams(Section):
    opset: Annotated[int, Field(ge=18)]
    int8: bool
    golden_crops: Count


def _require_ordered(section: Section, lower: str, upper: str) -> None:
    low, high = getattr(section, lower), getattr(section, upper)
    if low > high:
        raise ValueError(f"{lower} {low} is above {upper} {high}")


class Params(Section):
    """The whole params.yaml."""

    data: DataParams
    build_sample: BuildSampleParams
    extract_frames: ExtractFramesParams
    preprocess: PreprocessParams
    crop_faces: CropFacesParams
    split_groups: SplitGroupsParams
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
    """SafeLoader with YAML 1.2 floats and without silent duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            at = f"{node.start_mark.name}: line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise ParamsError(f"{at}: expected a name as key, got {key!r}")
            if key in seen:
                raise ParamsError(f"{at}: key {key!r} is given twice")
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

    Raises ParamsError with one line a fault: `params.yaml: train.lr: Input should be a valid number
    (got 'abc')`.
    """
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
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError("\n".join(validation_lines(path, error))) from None
    if faults := _contradictions(params):
        raise ParamsError("\n".join(f"{path}: {fault}" for fault in faults))
    return params


def _contradictions(params: Params) -> list[str]:
    """What no section can see alone, as `key: message`."""
    faults = []
    crop_faces, scales = params.crop_faces, params.preprocess.scales
    if crop_faces.context_scale < scales[-1]:
        faults.append(
            "crop_faces.context_scale: the context crop must hold the largest of"
            f" preprocess.scales, {scales[-1]:g} (got {crop_faces.context_scale:g})"
        )
    known = [*(f"{scale:g}x" for scale in scales), "aligned"]
    if unknown := [view for view in params.model.views if view not in known]:
        faults.append(f"model.views: {unknown[0]!r} is none of {', '.join(known)}")
    if crop_faces.detector in ("mediapipe", "yolo_face") and not crop_faces.model_file:
        faults.append(f"crop_faces.model_file: {crop_faces.detector} needs the path of its model")
    if params.model.weights == "file" and not params.model.weights_file:
        faults.append("model.weights_file: expected a path, because model.weights is file")
    return faults


def validation_lines(path: Path | str, error: ValidationError) -> list[str]:
    """One line a fault: `file: key.path: message (got value)`."""
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "(top level)"
        # A rule of ours ("value_error") tells the values itself.
        quiet = fault["type"] in ("missing", "value_error")
        got = "" if quiet else f" (got {fault['input']!r:.80})"
        lines.append(f"{path}: {key}: {fault['msg'].removeprefix('Value error, ')}{got}")
    return lines
