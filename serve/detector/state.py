"""What a worker process holds: the detector in force, and how it is exchanged."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from loky import cpu_count
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.bundle.session import golden_crops
from pipeline.faces.detector import Face
from pipeline.runtime.errors import PipelineError, SettingsError
from pipeline.views.paste import SQUARE_PX, TEMPLATE
from serve.detector.inference import SwapDetector, load_swap_detector
from serve.problems import Problem
from serve.settings import Settings

MARGIN_PX = 64


def warm_up(detector: SwapDetector) -> None:
    """Look for faces in a drawn image, and judge one that is said to be in its middle.

    Raises BundleError or DetectorError when a part does not work.
    """
    rgb = golden_crops(1, SQUARE_PX + 2 * MARGIN_PX)[0]
    detector.score_image(rgb)
    box = np.array([MARGIN_PX, MARGIN_PX, MARGIN_PX + SQUARE_PX, MARGIN_PX + SQUARE_PX], np.float32)
    keypoints = np.asarray(TEMPLATE + MARGIN_PX, np.float32)
    detector.score_faces(rgb, [Face(box, keypoints, 1.0)])


VARIABLE = "INSWAPPER_STATE_FILE"


class SavedThreshold(BaseModel):
    """The file's content. threshold: null when the administrator has set none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(gt=0, le=1)] | None


def read_saved_threshold(path: Path | None) -> float | None:
    """The kept threshold; None without a file. Raises SettingsError for a broken one."""
    if path is None:
        return None
    if not path.parent.is_dir():
        raise SettingsError(f"{VARIABLE}: {path.parent}: no such folder")
    try:
        return SavedThreshold.model_validate_json(path.read_bytes()).threshold
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


LOG = logging.getLogger("inswapper.serve")
RETRY_AFTER_S = 10


@dataclass(frozen=True)
class ActiveDetector:
    """One consistent set; a request keeps the one it started with. threshold_source: who set the
    limit for "fake": bundle, setting or admin."""

    detector: SwapDetector
    threshold_source: str


@dataclass(frozen=True)
class Change:
    """What was in force before an administrator's order, None without a detector, and after."""

    before: ActiveDetector | None
    after: ActiveDetector


class ServiceState:
    """Exchanged by one reference, so that no request ever sees half of two detectors.

    Several worker processes do not see each other's changes: run one. draining: SIGTERM has come.
    Raises SettingsError for a broken state file.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fault = "the detector is still loading"
        self.draining = False
        self._active: ActiveDetector | None = None
        self._previous: SwapDetector | None = None
        self._admin_threshold = read_saved_threshold(settings.state_file)
        self._changing = threading.Lock()

    @property
    def active(self) -> ActiveDetector:
        """Raises the 503 problem while there is no detector."""
        if self._active is None:
            raise Problem(503, "no detector is loaded; see /ready", retry_after_s=RETRY_AFTER_S)
        return self._active

    @property
    def loaded(self) -> ActiveDetector | None:
        """As `active`, but None while there is no detector."""
        return self._active

    @property
    def faults(self) -> list[str]:
        """Why no further requests should be sent here; empty when all is well."""
        if self.draining:
            return ["draining"]
        return [] if self._active is not None else self.fault.splitlines()

    def start(self) -> None:
        """Load the detector; a failure is kept for /ready, since an administrator can mend it."""
        try:
            self._load()
        except PipelineError as error:
            self.fault = str(error)
            LOG.error("not ready: %s", error)

    def reload(self) -> Change:
        """Load and verify the bundle again, then exchange it; on any failure the old one serves on.

        Raises the problems 409, when a change is under way, and 422.
        """
        with self._change():
            before = self._active
            try:
                after = self._load()
            except PipelineError as error:
                raise Problem(422, f"the bundle was refused: {error}") from error
            self._previous = before.detector if before else None
            return Change(before, after)

    def roll_back(self) -> Change:
        """Put back what the last reload replaced. Raises the problem 409, also without such."""
        with self._change():
            if self._previous is None:
                raise Problem(409, "no bundle to go back to: none was replaced, or it is back")
            before, after = self._active, self._put(self._previous)
            self._previous = None
            return Change(before, after)

    def set_threshold(self, threshold: float | None) -> Change:
        """From now on call fake from `threshold` on; None goes back to the setting or the bundle.

        Raises the problems 409, and 503 when there is no detector or it cannot be kept; the old one
        holds then.
        """
        with self._change():
            before = self.active
            if self.settings.state_file is not None:
                save_or_refuse(self.settings.state_file, threshold)
            self._admin_threshold = threshold
            return Change(before, self._put(before.detector))

    @contextmanager
    def _change(self) -> Iterator[None]:
        if not self._changing.acquire(blocking=False):
            raise Problem(409, "another change is under way", retry_after_s=RETRY_AFTER_S)
        try:
            yield
        finally:
            self._changing.release()

    def _load(self) -> ActiveDetector:
        threads = self.settings.threads or cpu_count()
        detector = load_swap_detector(self.settings, threads)
        warm_up(detector)
        loaded = self._put(detector)
        bundle = loaded.detector.bundle
        LOG.info("bundle %s %s in force", bundle.spec.version, bundle.sha256[:12])
        return loaded

    def _put(self, detector: SwapDetector) -> ActiveDetector:
        threshold, source = None, "bundle"
        if self._admin_threshold is not None:
            threshold, source = self._admin_threshold, "admin"
        elif self.settings.threshold is not None:
            threshold, source = self.settings.threshold, "setting"
        self._active = ActiveDetector(detector.with_threshold(threshold), source)
        return self._active


def save_or_refuse(path: Path, threshold: float | None) -> None:
    """Write the state file. Raises the problem 503 when that fails; the old content stays."""
    try:
        keep(path, threshold)
    except OSError as error:
        detail = f"INSWAPPER_STATE_FILE cannot be written ({error.strerror}); nothing was changed"
        raise Problem(503, detail, retry_after_s=RETRY_AFTER_S) from error
