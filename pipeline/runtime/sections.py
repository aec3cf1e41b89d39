"""Sections of params.yaml: keys, types and ranges."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
JpegQuality = Annotated[int, Field(ge=1, le=100)]
Crf = Annotated[int, Field(ge=0, le=51)]


class StrictModel(BaseModel):
    """Frozen base of the sections of params.yaml and detector.json; strict about keys and types."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class DataParams(StrictModel):
    root: Annotated[str, Field(min_length=1)]


class BuildSampleParams(StrictModel):
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


class ExtractFramesParams(StrictModel):
    frames_per_scene: Count
    scene_threshold: OpenFraction
    min_scene_s: Positive
    max_skip_frac: Fraction


class PreprocessParams(StrictModel):
    size_px: Annotated[int, Field(ge=64, le=1024, multiple_of=32)]
    scales: Annotated[list[Annotated[float, Field(ge=1, le=4)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> "PreprocessParams":
        if self.scales != sorted(set(self.scales)):
            raise ValueError(f"scales must ascend without repetition, got {self.scales}")
        return self


class CropFacesParams(StrictModel):
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


class SplitGroupsParams(StrictModel):
    seed: Seed
    val_frac: OpenFraction
    test_frac: OpenFraction
    test_sources: list[Annotated[str, Field(min_length=1)]]
    link_sources: bool

    @model_validator(mode="after")
    def _leaves_training(self) -> "SplitGroupsParams":
        if self.val_frac + self.test_frac >= 1:
            raise ValueError(
                "val_frac + test_frac must be below 1, or no groups remain for training"
            )
        return self


class AuditParams(StrictModel):
    """Section `audit`. allow: overlaps of two splits that are no leaks, as `kind:name`."""

    allow: list[
        Annotated[
            str,
            Field(pattern=r"^(identity|source-identity|video|group):.+$|^near-duplicate:.+:.+$"),
        ]
    ]
    near_bits: Annotated[int, Field(ge=0, le=16)]


class PackZarrParams(StrictModel):
    crops_per_shard: Count


class ModelParams(StrictModel):
    views: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    backbone: Annotated[str, Field(min_length=1)]
    weights: Literal["hub", "file", "package", "none"]
    weights_file: str
    frequency: Literal["bands", "highpass", "fft", "dct", "off"]
    rgb_dim: Count
    frequency_dim: Count
    hidden_dim: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]


class PseudoSwapParams(StrictModel):
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
            raise ValueError("hull_frac + box_frac must not exceed 1; the remainder are squares")
        return self


class AugmentParams(StrictModel):
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
            raise ValueError("x264_frac + jpeg_frac must not exceed 1; the rest is uncompressed")
        return self


class SeamParams(StrictModel):
    """Section `seam`: the boosted trees on seam features."""

    pairs: Count
    seeds: Annotated[list[Seed], Field(min_length=1)]
    trees: Count
    leaves: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    l2: NonNegative
    feature_frac: Annotated[float, Field(gt=0, le=1)]


class TrainParams(StrictModel):
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


class FusionParams(StrictModel):
    real_fake: Fraction
    inswapper: Fraction
    boundary: Fraction

    @model_validator(mode="after")
    def _sums_to_one(self) -> "FusionParams":
        total = self.real_fake + self.inswapper + self.boundary
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the three weights must sum to 1, got {total:.6g}")
        return self


class CalibrateParams(StrictModel):
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


class EvaluateParams(StrictModel):
    seed: Seed
    bootstrap: Annotated[int, Field(ge=100)]
    compressed_jpeg: JpegQuality
    low_quality_px: Annotated[int, Field(ge=16)]
    ladder_faces: Annotated[int, Field(ge=4)]


class ExportParams(StrictModel):
    opset: Annotated[int, Field(ge=18)]
    int8: bool
    golden_crops: Count


def _require_ordered(section: StrictModel, lower: str, upper: str) -> None:
    low, high = getattr(section, lower), getattr(section, upper)
    if low > high:
        raise ValueError(f"{lower} {low} is above {upper} {high}")
