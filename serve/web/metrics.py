"""Prometheus metrics: counters and durations, without data about single images or clients."""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serve.detector.inference_queue import InferenceQueue
from serve.detector.state import ServiceState
from serve.schemas import ImageAnswer, VideoAnswer

# An image takes tens of milliseconds, a full queue seconds, a video a minute.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class ServiceMetrics:
    """The metrics of one app, in their own registry."""

    def __init__(self, state: ServiceState, inference_queue: InferenceQueue) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "inswapper_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.request_s = _seconds("request", "Time from head to response.", registry, "route")
        self.decode_s = _seconds("decode", "Time to decode one image.", registry)
        self.queue_s = _seconds("queue", "Time of one image in the queue.", registry)
        self.inference_s = _seconds("inference", "Time to score one image.", registry)
        self.images = Counter(
            "inswapper_pictures", "Images scored.", ["verdict"], registry=registry
        )
        self.faces = Counter(
            "inswapper_faces",
            "Faces scored, including those in video frames.",
            ["verdict"],
            registry=registry,
        )
        self.videos = Counter("inswapper_videos", "Videos scored.", ["verdict"], registry=registry)
        self.reloads = Counter(
            "inswapper_reloads",
            "Reloads and rollbacks of the bundle.",
            ["what", "outcome"],
            registry=registry,
        )
        ProcessCollector(registry=registry)
        registry.register(_CurrentState(state, inference_queue))

    def count_image(self, answer: ImageAnswer) -> None:
        self.images.labels(answer.verdict).inc()
        for face in answer.faces:
            self.faces.labels(face.verdict).inc()
        self.decode_s.observe(answer.timing_ms["decode"] / 1000)
        self.queue_s.observe(answer.timing_ms["queue"] / 1000)
        self.inference_s.observe(answer.timing_ms["inference"] / 1000)

    def count_video(self, answer: VideoAnswer) -> None:
        self.videos.labels(answer.verdict).inc()
        for frame in answer.frames:
            for face in frame.faces:
                self.faces.labels(face.verdict).inc()

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class _CurrentState(Collector):
    """Gauges that are read at the moment of a scrape."""

    def __init__(self, state: ServiceState, inference_queue: InferenceQueue) -> None:
        self._state = state
        self._queue = inference_queue

    def collect(self) -> Iterator[Metric]:
        faults = self._state.faults
        yield _gauge("ready", "1 while /ready answers 200.", float(not faults))
        yield _gauge("queue_length", "Images queued or being processed.", self._queue.inside)
        model = GaugeMetricFamily(
            "inswapper_model_info",
            "Active bundle.",
            labels=["version", "sha256", "precision"],
        )
        active = self._state.loaded
        if active is not None:
            bundle = active.detector.bundle
            model.add_metric([bundle.spec.version, bundle.sha256[:12], bundle.precision], 1)
            threshold = active.detector.decision.thresholds.fake_from
            yield _gauge("threshold", "Faces are flagged fake at or above this score.", threshold)
        yield model


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"inswapper_{name}", documentation, value=value)


def _seconds(name: str, documentation: str, registry: CollectorRegistry, *labels: str) -> Histogram:
    return Histogram(
        f"inswapper_{name}_seconds", documentation, labels, registry=registry, buckets=BUCKETS_S
    )
