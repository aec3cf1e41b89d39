"""Settings from environment variables or a `.env` file; `.env.example` documents each of them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.runtime.errors import SettingsError
from serve.sizes import MOST_PIXELS

PREFIX = "INSWAPPER_"


class Settings(BaseSettings):
    """Settings of serve.predict and of the service; an empty variable counts as unset.

    threshold: score at or above which a face is flagged fake, instead of the bundle's own.
    precision: model of the bundle to run; auto is fp32 if the bundle has it, else int8.
    face_pack: model pack of insightface. detector_model: model file of mediapipe and yolo_face.
    threads: None means the cores available to this process. max_video_s: maximum video length.
    max_video_frames: maximum number of frames sampled from one video.

    Service only:
    admin_token: bearer token of the admin routes, which are disabled without it.
    max_upload_mb, max_batch_mb, max_video_mb: maximum request body of each route, in 10^6 bytes.
    sync_video_s: maximum length of a video that is answered within its request.
    video_memory_mb, video_cpu_s: address space (10^6 bytes) and CPU time of the process that reads
    a video. video_timeout_s: maximum time from the start of reading a video to its verdict.
    max_jobs: maximum number of videos queued or being processed. job_ttl_s: seconds until a
    finished job is deleted. queue_length: maximum number of requests in the inference queue.
    deadline_s: maximum time in the queue. body_timeout_s: maximum time without data while a
    request body is received. rate_per_minute: maximum number of requests per client to the
    detection routes; None means no limit. state_file: file that keeps the administrator's
    threshold across restarts. drain_s: seconds for which connections are accepted after SIGTERM.
    log_format: format of the log on standard error.
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
    """Read the environment. Raises SettingsError, with one line per fault naming its variable."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(map(_line, error.errors()))) from None


def _line(fault: ErrorDetails) -> str:
    name = str(fault["loc"][0])
    seen = "not shown" if name == "admin_token" else f"got {fault['input']!r:.80}"
    return f"{PREFIX}{name.upper()}: {fault['msg']} ({seen})"
