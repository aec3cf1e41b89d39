"""What a user may set, by environment variables or a `.env` file; `.env.example` documents each."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.runtime.errors import SettingsError
from serve.sizes import MOST_PIXELS

PREFIX = "INSWAPPER_"


class Settings(BaseSettings):
    """Frozen; an empty variable counts as unset.

    threshold: the score from which a face is called fake, instead of the bundle's own.
    precision: which of the bundle's models runs; auto takes fp32 where there is one.
    face_pack: model pack of insightface. detector_model: model file of mediapipe and yolo_face.
    threads: None counts the cores this process may use. max_video_s: longest video that is read.
    max_video_frames: most frames sampled from one video.

    Of the service alone: admin_token opens the admin routes, which stay shut without it.
    max_upload_mb, max_batch_mb, max_video_mb: largest request body of each route, in 10^6 bytes.
    sync_video_s: longest video that is answered at once. video_memory_mb, video_cpu_s: address
    space (10^6 bytes) and processor time of the process that reads a video; video_timeout_s: the
    longest time that one may take. max_jobs: videos that are judged or wait for it. job_ttl_s: how
    long an ended job is kept. queue_length: requests that may wait.
    deadline_s: longest wait for a turn. body_timeout_s: longest silence within a request's body.
    rate_per_minute: requests of one client to the detection routes; None sets no limit.
    state_file: where the threshold of the administrator outlives a restart. drain_s: how long
    SIGTERM still lets connections in. log_format: of the log on standard error.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    model_path: Path | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    precision: Literal["auto", "fp32", "int8"] = "auto"
    face_detector: Literal["insightface", "retinaface", "mediapipe", "yolo_face", "opencv_haar"] = (
        "insightface"
    )
    face_pack: Annotated[str, Field(min_length=1)] = "retinaface_mnet025"
    detector_model: str = ""
    max_faces: Annotated[int, Field(ge=1, le=1000)] = 16
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    max_image_pixels: Annotated[int, Field(ge=4096, le=MOST_PIXELS)] = 50_000_000
    max_video_s: Annotated[float, Field(gt=0)] = 3600
    max_video_frames: Annotated[int, Field(ge=1)] = 600

    admin_token: Annotated[SecretStr, Field(min_length=16)] | None = None
    max_upload_mb: Annotated[float, Field(gt=0)] = 25
    max_batch_mb: Annotated[float, Field(gt=0)] = 100
    max_batch_files: Annotated[int, Field(ge=1, le=1000)] = 16
    max_video_mb: Annotated[float, Field(gt=0)] = 200
    sync_video_s: Annotated[float, Field(gt=0)] = 60
    video_memory_mb: Annotated[int, Field(ge=600)] = 2048
    video_cpu_s: Annotated[int, Field(ge=1)] = 1800
    video_timeout_s: Annotated[float, Field(gt=0)] = 3600
    max_jobs: Annotated[int, Field(ge=1, le=1000)] = 8
    job_ttl_s: Annotated[float, Field(gt=0)] = 900
    queue_length: Annotated[int, Field(ge=1, le=10_000)] = 32
    deadline_s: Annotated[float, Field(gt=0)] = 30
    body_timeout_s: Annotated[float, Field(gt=0)] = 10
    rate_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    state_file: Path | None = None
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0
    log_format: Literal["json", "text"] = "json"


def load_settings() -> Settings:
    """Read the environment. Raises SettingsError, one line a fault, naming the variable."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(map(_line, error.errors()))) from None


def _line(fault: ErrorDetails) -> str:
    name = str(fault["loc"][0])
    seen = "not shown" if name == "admin_token" else f"got {fault['input']!r:.80}"
    return f"{PREFIX}{name.upper()}: {fault['msg']} ({seen})"
