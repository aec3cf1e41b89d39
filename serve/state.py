"""What a worker process holds: the detector in force, and how it is exchanged."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from serve.cores import usable_cores
from serve.inference import SwapDetector, load_swap_detector
from serve.kept import keep, read_kept
from serve.problems import Problem
from serve.settings import Settings
from serve.warmup import warm_up

LOG = logging.getLogger("inswapper.serve")
RETRY_AFTER_S = 10


@dataclass(frozen=True)
class InForce:
    """One consistent set; a request keeps the one it started with. threshold_source: who set the
    limit for "fake": bundle, setting or admin."""

    detector: SwapDetector
    threshold_source: str


@dataclass(frozen=True)
class Change:
    """What was in force before an administrator's order, None without a detector, and after."""

    before: InForce | None
    after: InForce


class ServiceState:
    """Exchanged by one reference, so that no request ever sees half of two detectors.

    Several worker processes do not see each other's changes: run one. draining: SIGTERM has come.
    Raises SettingsError for a broken state file.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fault = "the detector is still loading"
        self.draining = False
        self._in_force: InForce | None = None
        self._replaced: SwapDetector | None = None
        self._admin_threshold = read_kept(settings.state_file)
        self._changing = threading.Lock()

    @property
    def in_force(self) -> InForce:
        """Raises the 503 problem while there is no detector."""
        if self._in_force is None:
            raise Problem(503, "no detector is loaded; see /ready", retry_after_s=RETRY_AFTER_S)
        return self._in_force

    @property
    def loaded(self) -> InForce | None:
        """As `in_force`, but None while there is no detector."""
        return self._in_force

    @property
    def faults(self) -> list[str]:
        """Why no further requests should be sent here; empty when all is well."""
        if self.draining:
            return ["draining"]
        return [] if self._in_force is not None else self.fault.splitlines()

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
            before = self._in_force
            try:
                after = self._load()
            except PipelineError as error:
                raise Problem(422, f"the bundle was refused: {error}") from error
            self._replaced = before.detector if before else None
            return Change(before, after)

    def roll_back(self) -> Change:
        """Put back what the last reload replaced. Raises the problem 409, also without such."""
        with self._change():
            if self._replaced is None:
                raise Problem(409, "no bundle to go back to: none was replaced, or it is back")
            before, after = self._in_force, self._put(self._replaced)
            self._replaced = None
            return Change(before, after)

    def set_threshold(self, threshold: float | None, *, write: bool = True) -> Change:
        """From now on call fake from `threshold` on; None goes back to the setting or the bundle.

        write: False where another process writes the state file for all. Raises the problems 409,
        and 503 when there is no detector or it cannot be kept; the old one holds then.
        """
        with self._change():
            before = self.in_force
            if write and self.settings.state_file is not None:
                keep_or_refuse(self.settings.state_file, threshold)
            self._admin_threshold = threshold
            return Change(before, self._put(before.detector))

    @contextmanager
    def _change(self) -> Iterator[None]:
        if not self._changing.acquire(blocking=False):
            raise change_under_way()
        try:
            yield
        finally:
            self._changing.release()

    def _load(self) -> InForce:
        threads = self.settings.threads or usable_cores()
        detector = load_swap_detector(self.settings, threads)
        warm_up(detector)
        loaded = self._put(detector)
        bundle = loaded.detector.bundle
        LOG.info("bundle %s %s in force", bundle.spec.version, bundle.sha256[:12])
        return loaded

    def _put(self, detector: SwapDetector) -> InForce:
        threshold, source = None, "bundle"
        if self._admin_threshold is not None:
            threshold, source = self._admin_threshold, "admin"
        elif self.settings.threshold is not None:
            threshold, source = self.settings.threshold, "setting"
        self._in_force = InForce(detector.with_threshold(threshold), source)
        return self._in_force


def change_under_way() -> Problem:
    """To be raised while another order of an administrator is carried out."""
    return Problem(409, "another change is under way", retry_after_s=RETRY_AFTER_S)


def keep_or_refuse(path: Path, threshold: float | None) -> None:
    """Write the state file. Raises the problem 503 when that fails; the old content stays."""
    try:
        keep(path, threshold)
    except OSError as error:
        detail = f"INSWAPPER_STATE_FILE cannot be written ({error.strerror}); nothing was changed"
        raise Problem(503, detail, retry_after_s=RETRY_AFTER_S) from error
