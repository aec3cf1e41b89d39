"""What Prometheus may know: counts and durations, never anything about an image or a client."""

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

# An image takes some ten milliseconds, a full queue seconds, a video a minute.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The instruments of one app, in a registry of their own."""

    def __init__(self, state: ServiceState, inference_queue: InferenceQueue) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "inswapper_requests",
            "Answered requests.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.request_s = _seconds("request", "From head to answer.", registry, "route")
        self.decode_s = _seconds("decode", "Decoding one image.", registry)
        self.queue_s = _seconds("queue", "Waiting of one image for its turn.", registry)
        self.inference_s = _seconds("inference", "Computing on one image.", registry)
        self.images = Counter(
            "inswapper_pictures", "Judged images.", ["verdict"], registry=registry
        )
        self.faces = Counter(
            "inswapper_faces",
            "Judged faces, those of video frames too.",
            ["verdict"],
            registry=registry,
        )
        self.videos = Counter("inswapper_videos", "Judged videos.", ["verdict"], registry=registry)
        self.reloads = Counter(
            "inswapper_reloads", "Exchanges of the bundle.", ["what", "outcome"], registry=registry
        )
        ProcessCollector(registry=registry)
        registry.register(_Now(state, inference_queue))

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
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)


class _Now(Collector):
    """What is asked for at the moment of a scrape, so that it never lags behind."""

    def __init__(self, state: ServiceState, inference_queue: InferenceQueue) -> None:
        self._state = state
        self._queue = inference_queue

    def collect(self) -> Iterator[Metric]:
        faults = self._state.faults
        yield _gauge("ready", "1 while /ready says 200.", float(not faults))
        yield _gauge("queue_length", "Images in the house, waiting or at work.", self._queue.inside)
        model = GaugeMetricFamily(
            "inswapper_model_info",
            "The bundle in force.",
            labels=["version", "sha256", "precision"],
        )
        found = self._state.loaded
        if found is not None:
            bundle = found.detector.bundle
            model.add_metric([bundle.spec.version, bundle.sha256[:12], bundle.precision], 1)
            threshold = found.detector.decision.thresholds.fake_from
            yield _gauge("threshold", "Score from which a face is called fake.", threshold)
        yield model


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"inswapper_{name}", documentation, value=value)


def _seconds(name: str, documentation: str, registry: CollectorRegistry, *labels: str) -> Histogram:
    return Histogram(
        f"inswapper_{name}_seconds", documentation, labels, registry=registry, buckets=BUCKETS_S
    )
