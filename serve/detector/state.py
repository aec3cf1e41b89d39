"""Active detector of a worker process: loading, reload, rollback and threshold changes."""

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
from serve.problems import RETRY_AFTER_S, Problem
from serve.settings import Settings

LOG = logging.getLogger("inswapper.serve")
STATE_FILE_VARIABLE = "INSWAPPER_STATE_FILE"
MARGIN_PX = 64


def warm_up(detector: SwapDetector) -> None:
    """Detect faces in a synthetic image, then score a face given at its centre.

    Raises BundleError or DetectorError when a part does not work.
    """
    rgb = golden_crops(1, SQUARE_PX + 2 * MARGIN_PX)[0]
    detector.score_image(rgb)
    box = np.array([MARGIN_PX, MARGIN_PX, MARGIN_PX + SQUARE_PX, MARGIN_PX + SQUARE_PX], np.float32)
    keypoints = np.asarray(TEMPLATE + MARGIN_PX, np.float32)
    detector.score_faces(rgb, [Face(box, keypoints, 1.0)])


class SavedThreshold(BaseModel):
    """Content of the state file. threshold: null when the administrator has set none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    threshold: Annotated[float, Field(gt=0, le=1)] | None


def read_saved_threshold(path: Path | None) -> float | None:
    """The saved threshold; None without a file. Raises SettingsError for an invalid file."""
    if path is None:
        return None
    if not path.parent.is_dir():
        raise SettingsError(f"{STATE_FILE_VARIABLE}: {path.parent}: no such folder")
    try:
        return SavedThreshold.model_validate_json(path.read_bytes()).threshold
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(
            f"{STATE_FILE_VARIABLE}: {path}: cannot be read ({error.strerror})"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "content"
        raise SettingsError(
            f"{STATE_FILE_VARIABLE}: {path}: {where}: {fault['msg']};"
            ' expected {"threshold": 0.5} or {"threshold": null};'
            " remove the file to start without a saved threshold"
        ) from None


def save_threshold(path: Path, threshold: float | None) -> None:
    """Write the state file durably. Raises OSError.

    The content is written to a temporary sibling, flushed to disk and renamed, so a crash leaves
    the old content.
    """
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


@dataclass(frozen=True)
class ActiveDetector:
    """A detector and its threshold; a request uses the one it started with to its end.

    threshold_source: origin of the threshold for "fake": bundle, setting or admin.
    """

    detector: SwapDetector
    threshold_source: str


@dataclass(frozen=True)
class Change:
    """Active detector before (None if there was none) and after an admin request."""

    before: ActiveDetector | None
    after: ActiveDetector


class ServiceState:
    """Holds the active detector, which is replaced by one assignment.

    No request can see a mixture of two detectors. Worker processes do not see each other's
    changes, so run only one. fault: reason why no detector is loaded. draining: True after SIGTERM.
    Raises SettingsError for an invalid state file.
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
        """The active detector. Raises Problem 503 while there is none."""
        if self._active is None:
            raise Problem(503, "no detector is loaded; see /ready", retry_after_s=RETRY_AFTER_S)
        return self._active

    @property
    def loaded(self) -> ActiveDetector | None:
        """The active detector, or None while there is none."""
        return self._active

    @property
    def faults(self) -> list[str]:
        """Reasons why the service is not ready; empty when it is ready."""
        if self.draining:
            return ["draining"]
        return [] if self._active is not None else self.fault.splitlines()

    def start(self) -> None:
        """Load the detector. A failure is reported by /ready: an administrator can fix it."""
        try:
            self._load()
        except PipelineError as error:
            self.fault = str(error)
            LOG.error("not ready: %s", error)

    def reload(self) -> Change:
        """Load and verify the bundle from disk and make it active; on failure nothing changes.

        Raises Problem 409 while another change is in progress, and 422 for an unusable bundle.
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
        """Restore the bundle that the last reload replaced.

        Raises Problem 409 if there is none or while another change is in progress.
        """
        with self._change():
            if self._previous is None:
                raise Problem(409, "no previous bundle to restore")
            before, after = self._active, self._activate(self._previous)
            self._previous = None
            return Change(before, after)

    def set_threshold(self, threshold: float | None) -> Change:
        """Flag faces as fake at or above `threshold`; None resets to the setting or the bundle.

        Raises Problem 409 while another change is in progress, and 503 when no detector is loaded
        or the threshold cannot be saved; the old threshold then stays active.
        """
        with self._change():
            before = self.active
            if self.settings.state_file is not None:
                save_or_refuse(self.settings.state_file, threshold)
            self._admin_threshold = threshold
            return Change(before, self._activate(before.detector))

    @contextmanager
    def _change(self) -> Iterator[None]:
        if not self._changing.acquire(blocking=False):
            raise Problem(409, "another change is in progress", retry_after_s=RETRY_AFTER_S)
        try:
            yield
        finally:
            self._changing.release()

    def _load(self) -> ActiveDetector:
        threads = self.settings.threads or cpu_count()
        detector = load_swap_detector(self.settings, threads)
        warm_up(detector)
        loaded = self._activate(detector)
        bundle = loaded.detector.bundle
        LOG.info("active bundle: %s %s", bundle.spec.version, bundle.sha256[:12])
        return loaded

    def _activate(self, detector: SwapDetector) -> ActiveDetector:
        threshold, source = None, "bundle"
        if self._admin_threshold is not None:
            threshold, source = self._admin_threshold, "admin"
        elif self.settings.threshold is not None:
            threshold, source = self.settings.threshold, "setting"
        self._active = ActiveDetector(detector.with_threshold(threshold), source)
        return self._active


def save_or_refuse(path: Path, threshold: float | None) -> None:
    """Write the state file. Raises Problem 503 on failure; the old content then stays."""
    try:
        save_threshold(path, threshold)
    except OSError as error:
        detail = f"{STATE_FILE_VARIABLE} cannot be written ({error.strerror}); nothing was changed"
        raise Problem(503, detail, retry_after_s=RETRY_AFTER_S) from error
