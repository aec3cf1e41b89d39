"""Measurements: HTTP overhead, peak throughput, goodput under overload, reloads under load."""

import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
from loky import cpu_count

from serve.detector.images import decode_image
from serve.detector.inference import load_swap_detector
from serve.settings import load_settings
from tests.loadtest.client import Client, Reply, Upload, closed_loop, open_loop, upload_of
from tests.loadtest.service import Service

Result = TypeVar("Result")
PEAK_CLIENTS = 3
PEAK_S = 10.0
OVERLOAD_S = 12.0
OVERLOAD = 2.0
OVERLOAD_ROUNDS = 5
HEALTH_PAUSE_S = 0.05
OVERHEAD_ROUNDS = 100
WARM_UP_ROUNDS = 5


def overhead(service: Service, image: bytes, rounds: int = OVERHEAD_ROUNDS) -> dict[str, Any]:
    """Time of /detect and of the same work in this process, interleaved, with equal settings."""
    settings = load_settings()
    detector = load_swap_detector(settings, settings.threads or cpu_count())
    upload = upload_of("/detect", "file", [image])

    def direct() -> None:
        read = decode_image(io.BytesIO(image), settings.max_image_pixels)
        assert len(detector.score_image(read.rgb).faces) == 1

    with Client(service.port) as client:

        def by_http() -> None:
            assert client.post(upload).status == 200

        p50 = _medians_ms({"direct": direct, "http": by_http}, rounds)
    return {
        "direct_p50_ms": p50["direct"],
        "http_p50_ms": p50["http"],
        "http_by_direct": p50["http"] / p50["direct"],
        "image_kb": len(image) / 1000,
    }


def overload(service: Service, image: bytes, rounds: int = OVERLOAD_ROUNDS) -> dict[str, Any]:
    """Peak rate of a closed loop, then an open loop at twice that rate, in alternation.

    Goodput and peak are medians over the rounds; their ratio is taken within each round.
    """
    upload = upload_of("/detect", "file", [image])
    found = [_overload_once(service, upload) for _ in range(rounds)]
    peaks = [peak_hz for peak_hz, _, _, _ in found]
    ratios = [goodput_hz / peak_hz for peak_hz, goodput_hz, _, _ in found]
    replies = [reply for _, _, replies, _ in found for reply in replies]
    health = [reply for _, _, _, health in found for reply in health]
    refused = [r for r in replies if r.status == 503]
    return {
        "rounds": rounds,
        "peak_hz": float(np.median(peaks)),
        "offered_hz": len(replies) / OVERLOAD_S / rounds,
        "goodput_by_peak": float(np.median(ratios)),
        "goodput_by_peak_least": min(ratios),
        "goodput_by_peak_greatest": max(ratios),
        "refused": len(refused),
        "refusal_p50_ms": _percentile_ms(refused, 50),
        "refusal_p99_ms": _percentile_ms(refused, 99),
        "health_p50_ms": _percentile_ms(health, 50),
        "health_p99_ms": _percentile_ms(health, 99),
        "other_statuses": sorted({r.status for r in replies} - {200, 503}),
    }


def _overload_once(
    service: Service, upload: Upload
) -> tuple[float, float, list[Reply], list[Reply]]:
    """Peak and goodput in requests per second, all replies, and those of /health meanwhile."""
    peak_hz = _peak(service, upload)
    health, (started, replies) = _meanwhile_health(
        service,
        lambda: (
            time.perf_counter(),
            open_loop(service.port, upload, OVERLOAD * peak_hz, OVERLOAD_S),
        ),
    )
    good = [r for r in replies if r.status == 200 and r.done_at <= started + OVERLOAD_S]
    return peak_hz, len(good) / OVERLOAD_S, replies, health


def reloads(service: Service, image: bytes, count: int = 50) -> dict[str, Any]:
    """Reload the bundle repeatedly while clients send requests, and count errors."""
    upload, stop = upload_of("/detect", "file", [image]), threading.Event()
    done: list[Reply] = []

    def reload() -> None:
        try:
            with Client(service.port) as client:
                for _ in range(count):
                    done.append(client.send("POST", "/admin/reload-model", b"", service.admin))
        finally:
            stop.set()

    orders = threading.Thread(target=reload)
    orders.start()
    replies = _closed_loop(service, upload, stop)
    orders.join()
    return {
        "reloads": len(done),
        "requests_meanwhile": len(replies),
        "errors": sum(reply.status != 200 for reply in (*done, *replies)),
        "reload_p50_ms": _percentile_ms(done, 50),
    }


def _peak(service: Service, upload: Upload) -> float:
    stop = threading.Event()
    timer = threading.Timer(PEAK_S, stop.set)
    started = time.perf_counter()
    timer.start()
    replies = _closed_loop(service, upload, stop)
    good = [r for r in replies if r.status == 200 and r.done_at <= started + PEAK_S]
    return len(good) / PEAK_S


def _closed_loop(service: Service, upload: Upload, stop: threading.Event) -> list[Reply]:
    answered = closed_loop(service.port, lambda _: repeat(upload), PEAK_CLIENTS, stop)
    return [reply for _, reply in answered]


def _meanwhile_health(service: Service, work: Callable[[], Result]) -> tuple[list[Reply], Result]:
    """Replies of /health during the work, and the work's result."""
    stop = threading.Event()
    replies: list[Reply] = []

    def ask() -> None:
        with Client(service.port) as client:
            while not stop.wait(HEALTH_PAUSE_S):
                replies.append(client.send("GET", "/health"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        result = work()
    finally:
        stop.set()
        thread.join()
    return replies, result


def _medians_ms(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median time of each work; the works are interleaved."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(WARM_UP_ROUNDS + rounds):
        for name, work in works.items():
            taken_s = _seconds(work)
            if number >= WARM_UP_ROUNDS:
                taken[name].append(1000 * taken_s)
    return {name: float(np.median(values)) for name, values in taken.items()}


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _percentile_ms(replies: Sequence[Reply], percent: float) -> float | None:
    if not replies:
        return None
    return float(1000 * np.percentile([reply.taken_s for reply in replies], percent))
