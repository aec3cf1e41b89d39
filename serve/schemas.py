"""Request and response models of the service; the OpenAPI document is generated from them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.decision.thresholds import Score, Thresholds
from serve.detector.heatmaps import seam_map_of
from serve.detector.inference import FaceResult, ImageResult, SwapDetector
from serve.detector.state import ActiveDetector
from serve.detector.verdicts import ImageVerdict
from serve.video.progress import JobStatus, Stage
from serve.video.videos import VideoResult


class Limits(BaseModel):
    """A score of at least `fake` is flagged fake, one of at least `suspicious` suspicious."""

    fake: Score
    suspicious: Score


class Threshold(Limits):
    """Active thresholds.

    tight: limits for faces without surroundings, which have the reason `no_surroundings`.
    source: origin of the threshold for `fake`.
    """

    tight: Limits
    source: Literal["bundle", "setting", "admin"]


class Model(BaseModel):
    """The detector bundle that produced the scores."""

    name: str
    version: str
    sha256: str
    precision: Literal["fp32", "int8"]


class BandAnswer(BaseModel):
    """Texture energy of one frequency band; null outside the image.

    scale_px: half-width of its detail in pixels of INSwapper's 128-px face. drop_db: how much
    weaker it is inside the paste square than outside. profile_db: per ring, from the centre out.
    """

    scale_px: float
    inside_db: float | None
    outside_db: float | None
    drop_db: float | None
    profile_db: list[float | None]


class EvidenceAnswer(BaseModel):
    """Texture along the seam, finest band first.

    ring_edges: in units of half the side of the paste square.
    """

    ring_edges: list[float]
    bands: list[BandAnswer]


class SeamMapAnswer(BaseModel):
    """Probability of a paste seam at each point: `side` rows of `side` values, from the top left.

    corners: positions of the map's top left, top right, bottom right and bottom left corners in
    the upright image, whose own corners are (0, 0) and (width, height). The map may be rotated.
    """

    side: int
    values: list[Score]
    corners: list[list[float]]


class FaceAnswer(BaseModel):
    """One face; its box and keypoints are in pixels of the upright image.

    possible: labels that cannot be ruled out at the bundle's confidence level. surroundings:
    fraction of the ring around INSwapper's paste square that is inside the image. seam_map: only
    with ?heatmap=true.
    """

    box_xyxy: list[float]
    keypoints: list[list[float]] | None
    detector_score: Score
    verdict: ImageVerdict
    score: Score
    reasons: list[str]
    heads: dict[str, float]
    view_scores: list[float]
    possible: list[Literal["real", "fake"]]
    surroundings: Annotated[float, Field(ge=0, le=1)]
    seam_evidence: EvidenceAnswer
    seam_map: SeamMapAnswer | None = None


class ImageFacts(BaseModel):
    """Facts about the upright image. orientation: EXIF value that was applied."""

    width_px: int
    height_px: int
    format: str
    orientation: int


class ImageAnswer(BaseModel):
    """Result of one image, alone or in a batch."""

    verdict: ImageVerdict
    score: Score | None
    faces: list[FaceAnswer]
    image: ImageFacts
    timing_ms: dict[str, float]
    warnings: list[str]


class Common(BaseModel):
    """Members of every successful response with scores."""

    request_id: str
    threshold: Threshold
    model: Model


class DetectAnswer(Common, ImageAnswer):
    """Response of POST /detect."""


class BatchItem(BaseModel):
    """One image of a batch: status 200 and `result`, or the status and detail of its problem."""

    index: int
    status: int
    result: ImageAnswer | None = None
    error: str | None = None


class BatchAnswer(Common):
    """Response of POST /detect/batch. items: in the order of the files."""

    items: list[BatchItem]


class FrameAnswer(BaseModel):
    """One sampled frame."""

    frame_index: int
    timestamp_s: float
    scene: int
    verdict: ImageVerdict
    score: Score | None
    faces: list[FaceAnswer]


class SceneAnswer(BaseModel):
    """One scene: frames start_frame to stop_frame - 1."""

    start_frame: int
    stop_frame: int
    verdict: ImageVerdict
    score: Score | None


class TrackedFace(BaseModel):
    """Index of a frame in `frames`, and of a face in that frame's `faces`."""

    frame: Annotated[int, Field(ge=0)]
    face: Annotated[int, Field(ge=0)]


class TrackAnswer(BaseModel):
    """One face tracked through the sampled frames of a scene by the overlap of its boxes.

    track: number in order of appearance. score: mean over its faces. highest: maximum over them.
    """

    track: int
    scene: int
    verdict: ImageVerdict
    score: Score
    highest: Score
    faces: list[TrackedFace]


class VideoAnswer(Common):
    """Response of POST /detect/video.

    score: mean over the frames. highest_scene: index in `scenes`. tracks: most alarming first.
    """

    verdict: ImageVerdict
    score: Score | None
    highest_scene: int | None
    scenes: list[SceneAnswer]
    frames: list[FrameAnswer]
    tracks: list[TrackAnswer]
    timing_ms: dict[str, float]
    warnings: list[str]


class JobAnswer(BaseModel):
    """Job that scores a video in the background.

    stage: current step. frames_total: null until the scenes are known. expires_in_s: seconds until
    a finished job is deleted. error: problem of a failed job.
    """

    request_id: str
    job_id: str
    status: JobStatus
    progress: Annotated[float, Field(ge=0, le=1)]
    stage: Stage
    frames_done: int
    frames_total: int | None
    expires_in_s: float | None
    result: VideoAnswer | None
    error: dict[str, Any] | None


class ThresholdOrder(BaseModel):
    """Body of POST /admin/threshold; null resets to INSWAPPER_THRESHOLD or the bundle's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(gt=0, le=1)] | None


class AdminAnswer(BaseModel):
    """Response of the admin routes: the active state. persisted: whether a restart keeps it."""

    threshold: Threshold
    model: Model
    persisted: bool


def threshold_of(active: ActiveDetector) -> Threshold:
    decision = active.detector.decision
    return Threshold.model_validate(
        {
            **_limits(decision.open.thresholds),
            "tight": _limits(decision.tight.thresholds),
            "source": active.threshold_source,
        }
    )


def _limits(thresholds: Thresholds) -> dict[str, float]:
    return {"fake": thresholds.fake_from, "suspicious": thresholds.suspicious_from}


def model_of(active: ActiveDetector) -> Model:
    bundle = active.detector.bundle
    return Model(
        name=bundle.spec.name,
        version=bundle.spec.version,
        sha256=bundle.sha256,
        precision=bundle.precision,
    )


def image_members(result: ImageResult, mapped_by: SwapDetector | None = None) -> dict[str, Any]:
    """Members verdict, score and faces of an image.

    mapped_by: the detector that scored it, to include the seam maps.
    """
    return {
        "verdict": result.verdict,
        "score": None if result.score is None else round(result.score, 6),
        "faces": [_face_members(face, mapped_by) for face in result.faces],
    }


def _face_members(face: FaceResult, mapped_by: SwapDetector | None) -> dict[str, Any]:
    seam_map = None if mapped_by is None else seam_map_of(mapped_by, face)
    return {**face.to_dict(), "seam_map": seam_map}


def video_members(result: VideoResult, mapped_by: SwapDetector | None = None) -> dict[str, Any]:
    """Members verdict, score, scenes, frames and tracks of a video; see `image_members`."""
    return {
        "verdict": result.verdict,
        "score": None if result.score is None else round(result.score, 6),
        "highest_scene": result.highest_scene,
        "scenes": [scene.to_dict() for scene in result.scenes],
        "frames": [
            {**frame.to_dict(), **image_members(frame.result, mapped_by)} for frame in result.frames
        ],
        "tracks": [track.to_dict() for track in result.tracks],
    }
