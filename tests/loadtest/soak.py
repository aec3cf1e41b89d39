"""Soak test with mixed requests: memory growth, left-over files, unexpected responses."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.loadtest.client import Upload, closed_loop, upload_of
from tests.loadtest.inputs import clip, encoded, oversized_png, photograph
from tests.loadtest.service import Service

CLIENTS = 3
SAMPLE_S = 1.0
# Fraction of the time in which the first requests fill caches and memory pools.
SETTLING_FRAC = 1 / 3
LEAVE_S = 5.0

Kind = tuple[str, Upload, int]


def mixture() -> list[Kind]:
    """One round of requests: name, upload and expected status."""
    large, small = encoded(photograph()), encoded(photograph(512))
    image = ("image", upload_of("/detect", "file", [large]), 200)
    little = ("small image", upload_of("/detect", "file", [small]), 200)
    mapped = ("seam map", upload_of("/detect?heatmap=true", "file", [small]), 200)
    truncated = ("truncated", upload_of("/detect", "file", [large[: len(large) // 2]]), 422)
    text = ("text", upload_of("/detect", "file", [b"no image" * 5000]), 415)
    oversized = ("oversized", upload_of("/detect", "file", [oversized_png()]), 413)
    batch = ("batch", upload_of("/detect/batch", "files", [small, b"no image", small]), 200)
    video = ("video", upload_of("/detect/video", "file", [clip()]), 200)
    no_video = ("no video", upload_of("/detect/video", "file", [large]), 415)
    broken = [truncated, text, oversized, no_video]
    return [*([image, little, little, mapped, *broken, batch] * 8), video]


def soak(service: Service, duration_s: float, requests: int) -> dict[str, Any]:
    """Send requests until both the time and the number of requests are reached."""
    kinds, stop, sent = mixture(), threading.Event(), itertools.count()
    reached = threading.Event()
    started = time.monotonic()

    def turns(number: int) -> Iterator[Upload]:
        first = number * len(kinds) // CLIENTS
        for _, upload, _ in itertools.cycle(kinds[first:] + kinds[:first]):
            if next(sent) >= requests:
                reached.set()
            yield upload

    with_rss: list[tuple[float, float]] = []

    def watch() -> None:
        while not stop.wait(SAMPLE_S):
            passed = time.monotonic() - started
            with_rss.append((passed, service.process.memory_info().rss / 1e6))
            if passed >= duration_s and reached.is_set():
                stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    answered = closed_loop(service.port, turns, CLIENTS, stop)
    watcher.join()
    named = {id(upload): (name, status) for name, upload, status in kinds}
    replies = [(*named[id(upload)], reply.status) for upload, reply in answered]
    return {
        "duration_s": time.monotonic() - started,
        "requests": dict(Counter(name for name, _, _ in replies)),
        "total": len(replies),
        "unexpected": dict(Counter(f"{name}: {got}" for name, want, got in replies if got != want)),
        "rss_mb_per_min": slope_mb_per_min(with_rss),
        "rss_mb": with_rss[-1][1],
        **left_behind(service),
    }


def slope_mb_per_min(samples: list[tuple[float, float]]) -> float:
    """Slope of a least-squares line over (seconds, MB), without the settling time."""
    settled = [s for s in samples if s[0] >= SETTLING_FRAC * samples[-1][0]]
    seconds, megabytes = np.array(settled).T
    return float(60 * np.polyfit(seconds, megabytes, 1)[0])


def left_behind(service: Service) -> dict[str, int]:
    """Number of child processes and temporary files left after LEAVE_S at the latest."""
    deadline = time.monotonic() + LEAVE_S
    while True:
        found = {
            "children_left": len(service.process.children(recursive=True)),
            "temporary_files_left": service.temporary_files(),
        }
        if not any(found.values()) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
