"""The administrator's threshold on disk, so that it outlives a restart."""

import json
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import SettingsError

VARIABLE = "INSWAPPER_STATE_FILE"


class Kept(BaseModel):
    """The file's content. threshold: null when the administrator has set none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(gt=0, le=1)] | None


def read_kept(path: Path | None) -> float | None:
    """The kept threshold; None without a file. Raises SettingsError for a broken one."""
    if path is None:
        return None
    if not path.parent.is_dir():
        raise SettingsError(f"{VARIABLE}: {path.parent}: no such folder")
    try:
        return Kept.model_validate_json(path.read_bytes()).threshold
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{VARIABLE}: {path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "content"
        raise SettingsError(
            f'{VARIABLE}: {path}: {where}: {fault["msg"]}; expected {{"threshold": 0.5}} or null;'
            " remove the file to start without"
        ) from None


def keep(path: Path, threshold: float | None) -> None:
    """Write beside the file, then rename: a crash leaves the old content. Raises OSError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump({"threshold": threshold}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
