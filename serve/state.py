"""What a worker process holds: the detector in force, and how it is exchanged."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import PipelineError
from serve.cores import usable_cores
from serve.inference import SwapDetector, load_swap_detector
from serve.problems import Problem
from serve.settings import Settings

LOG = logging.getLogger("inswapper.serve")
RETRY_AFTER_S = 10


@dataclass(frozen=True)
class InForce:
    """One consistent set; a request keeps the one it started with. threshold_source: who set the
    limit for "fake": bundle, setting or admin."""

    detector: SwapDetector
    threshold_source: str


class ServiceState:
    """Exchanged by one reference, so that no request ever sees half of two detectors.

    Several worker processes do not see each other's changes: run one.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fault = "the detector is still loading"
        self._in_force: InForce | None = None
        self._admin_threshold: float | None = None
        self._changing = threading.Lock()

    @property
    def in_force(self) -> InForce:
        """Raises the 503 problem while there is no detector."""
        if self._in_force is None:
            raise Problem(503, "no detector is loaded; see /ready", retry_after_s=RETRY_AFTER_S)
        return self._in_force

    @property
    def faults(self) -> list[str]:
        """Why no request can be answered; empty when all is well."""
        return [] if self._in_force is not None else self.fault.splitlines()

    def start(self) -> None:
        """Load the detector; a failure is kept for /ready, since an administrator can mend it."""
        try:
            self._load()
        except PipelineError as error:
            self.fault = str(error)
            LOG.error("not ready: %s", error)

    def reload(self) -> InForce:
        """Load and verify the bundle again, then exchange it; on any failure the old one serves on.

        Raises the problems 409, when a change is under way, and 422.
        """
        with self._change():
            try:
                return self._load()
            except PipelineError as error:
                raise Problem(422, f"the bundle was refused: {error}") from error

    def set_threshold(self, threshold: float | None) -> InForce:
        """From now on call fake from `threshold` on; None goes back to the setting or the bundle.

        It is not written anywhere: a restart forgets it. Raises the problems 409 and 503.
        """
        with self._change():
            old = self.in_force.detector
            self._admin_threshold = threshold
            new = self._put(old)
            before, after = (d.decision.thresholds.fake_from for d in (old, new.detector))
            LOG.warning("threshold set by the administrator: %.6g, before %.6g", after, before)
            return new

    @contextmanager
    def _change(self) -> Iterator[None]:
        if not self._changing.acquire(blocking=False):
            raise Problem(409, "another change is under way", retry_after_s=RETRY_AFTER_S)
        try:
            yield
        finally:
            self._changing.release()

    def _load(self) -> InForce:
        threads = self.settings.threads or usable_cores()
        loaded = self._put(load_swap_detector(self.settings, threads))
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
