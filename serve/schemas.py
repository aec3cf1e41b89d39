"""What the service answers; these models are the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.inference import PictureResult
from serve.progress import JobStatus, Stage
from serve.state import InForce
from serve.videos import VideoResult

VerdictName = Literal["real", "suspicious", "fake", "undecided", "no_face"]
Score = Annotated[float, Field(ge=0, le=1)]


class Threshold(BaseModel):
    """Scores from `fake` on are called fake, from `suspicious` on suspicious."""

    fake: Score
    suspicious: Score
    source: Literal["bundle", "setting", "admin"]


class Model(BaseModel):
    """The bundle that answered."""

    name: str
    version: str
    sha256: str
    precision: Literal["fp32", "int8"]


class BandAnswer(BaseModel):
    """Texture of one fineness; null where the picture ends.

    scale_px: half-width of its detail in pixels of INSwapper's 128-px face. drop_db: how much
    weaker it is inside the paste square than outside. profile_db: ring by ring, from the middle.
    """

    scale_px: float
    inside_db: float | None
    outside_db: float | None
    drop_db: float | None
    profile_db: list[float | None]


class EvidenceAnswer(BaseModel):
    """Texture along the seam, finest band first; ring_edges in half sides of the paste square."""

    ring_edges: list[float]
    bands: list[BandAnswer]


class FaceAnswer(BaseModel):
    """Boxes and keypoints in pixels of the upright picture.

    possible: labels that cannot be ruled out at the bundle's confidence. surroundings: share of the
    ring around INSwapper's paste square that the picture shows.
    """

    box_xyxy: list[float]
    keypoints: list[list[float]] | None
    detector_score: Score
    verdict: VerdictName
    score: Score
    reasons: list[str]
    heads: dict[str, float]
    view_scores: list[float]
    possible: list[Literal["real", "fake"]]
    surroundings: Annotated[float, Field(ge=0, le=1)]
    seam_evidence: EvidenceAnswer


class ImageFacts(BaseModel):
    """Of the upright picture; orientation is the EXIF value that was applied."""

    width_px: int
    height_px: int
    format: str
    orientation: int


class PictureAnswer(BaseModel):
    """What holds for one picture, alone or within a batch."""

    verdict: VerdictName
    score: Score | None
    faces: list[FaceAnswer]
    image: ImageFacts
    timing_ms: dict[str, float]
    warnings: list[str]


class Common(BaseModel):
    """What every answer carries."""

    request_id: str
    threshold: Threshold
    model: Model


class DetectAnswer(Common, PictureAnswer):
    """POST /detect."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "9b2f0c5e7d6b4a51a1f2c3d4e5f60718",
                    "verdict": "fake",
                    "score": 0.93,
                    "threshold": {"fake": 0.71, "suspicious": 0.5, "source": "bundle"},
                    "faces": [],
                    "image": {
                        "width_px": 640,
                        "height_px": 480,
                        "format": "JPEG",
                        "orientation": 1,
                    },
                    "model": {
                        "name": "inswapper-detector",
                        "version": "1",
                        "sha256": "0" * 64,
                        "precision": "fp32",
                    },
                    "timing_ms": {"decode": 4.1, "queue": 0.2, "inference": 61.0, "total": 66.0},
                    "warnings": [],
                }
            ]
        }
    )


class BatchItem(BaseModel):
    """status 200 with `result`, or the status and text of its problem."""

    index: int
    status: int
    result: PictureAnswer | None = None
    error: str | None = None


class BatchAnswer(Common):
    """POST /detect/batch; items in the order in which the files were sent."""

    items: list[BatchItem]


class FrameAnswer(BaseModel):
    """One sampled frame."""

    frame_index: int
    timestamp_s: float
    scene: int
    verdict: VerdictName
    score: Score | None
    faces: list[FaceAnswer]


class SceneAnswer(BaseModel):
    """Frames start_frame to stop_frame - 1."""

    start_frame: int
    stop_frame: int
    verdict: VerdictName
    score: Score | None


class TrackedFace(BaseModel):
    """Position of a frame in `frames` and of a face in that frame's `faces`."""

    frame: Annotated[int, Field(ge=0)]
    face: Annotated[int, Field(ge=0)]


class TrackAnswer(BaseModel):
    """One face through the sampled frames of a scene, followed by the overlap of its boxes.

    track: number in order of appearance. score: mean over its faces; highest: the highest of them.
    """

    track: int
    scene: int
    verdict: VerdictName
    score: Score
    highest: Score
    faces: list[TrackedFace]


class VideoAnswer(Common):
    """POST /detect/video. score: mean over the frames; highest_scene: position in `scenes`.

    tracks: the most alarming first.
    """

    verdict: VerdictName
    score: Score | None
    highest_scene: int | None
    scenes: list[SceneAnswer]
    frames: list[FrameAnswer]
    tracks: list[TrackAnswer]
    timing_ms: dict[str, float]
    warnings: list[str]


class JobAnswer(BaseModel):
    """A video that is judged apart. stage: what is being done; frames_total: known after scenes.

    expires_in_s: until an ended job is forgotten. error: the problem of a failed job.
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
    """POST /admin/threshold. null goes back to INSWAPPER_THRESHOLD or the bundle's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(gt=0, le=1)] | None


class AdminAnswer(BaseModel):
    """What is in force now. persisted: whether a restart keeps it."""

    threshold: Threshold
    model: Model
    persisted: bool


def threshold_of(in_force: InForce) -> Threshold:
    limits = in_force.detector.decision.thresholds
    return Threshold.model_validate(
        {
            "fake": limits.fake_from,
            "suspicious": limits.suspicious_from,
            "source": in_force.threshold_source,
        }
    )


def model_of(in_force: InForce) -> Model:
    bundle = in_force.detector.bundle
    return Model(
        name=bundle.spec.name,
        version=bundle.spec.version,
        sha256=bundle.sha256,
        precision=bundle.precision,
    )


def picture_members(result: PictureResult) -> dict[str, Any]:
    """verdict, score and faces of a picture."""
    return {
        "verdict": result.verdict,
        "score": None if result.score is None else round(result.score, 6),
        "faces": [face.to_dict() for face in result.faces],
    }


def video_members(result: VideoResult) -> dict[str, Any]:
    """verdict, score, scenes, frames and tracks of a video."""
    return {
        "verdict": result.verdict,
        "score": None if result.score is None else round(result.score, 6),
        "highest_scene": result.highest_scene,
        "scenes": [scene.to_dict() for scene in result.scenes],
        "frames": [frame.to_dict() for frame in result.frames],
        "tracks": [track.to_dict() for track in result.tracks],
    }
