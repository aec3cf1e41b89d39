"""How long the parts of training take on one core: medians of interleaved rounds, and ratios.

Seconds belong to the machine they were measured on; what carries over is a ratio from one run.
"""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np

from pipeline.labels import REAL
from pipeline.params import Params
from pipeline.training.augment import Degradations
from pipeline.training.pictures import Picture
from pipeline.training.pseudo_swap import PseudoSwapper
from pipeline.training.scoring import evenly, picture_of
from pipeline.training.store import FaceStore

CONTEXT_PX: Final = 512
Work = Callable[[int], object]


def context_pictures(store: FaceStore, count: int) -> list[Picture]:
    """Evenly spaced real faces with keypoints, the longer side of their contexts 512 px.

    Raises ValueError when the split has none.
    """
    reals = np.flatnonzero(store.faces["label"].to_numpy() == REAL)
    known = np.array([face for face in reals if store.keypoints(int(face)) is not None], np.int64)
    if not len(known):
        raise ValueError("no real face with keypoints to swap")
    pictures = [picture_of(store, int(face)) for face in evenly(known, count)]
    return [one.resized(CONTEXT_PX / max(one.rgb.shape[:2])) for one in pictures]


def swap_report(pictures: Sequence[Picture], params: Params, rounds: int) -> dict[str, Any]:
    """Milliseconds a picture of a pseudo-swap and of training's degradations on the same ones."""
    swapper, degradations = PseudoSwapper(params.pseudo_swap), Degradations(params.augment)

    def swap(number: int) -> None:
        for index, picture in enumerate(pictures):
            if picture.keypoints is not None:
                rng = np.random.default_rng((number, index))
                swapper.swap(picture.rgb, picture.keypoints, rng)

    def degrade(number: int) -> None:
        for index, picture in enumerate(pictures):
            degradations.apply(picture, number * len(pictures) + index)

    found = timed({"pseudo_swap": swap, "degradations": degrade}, rounds, len(pictures))
    swaps = found["pseudo_swap"]["median_ms"]
    return {
        "context_px": CONTEXT_PX,
        "pictures": len(pictures),
        "rounds": rounds,
        "work": found,
        "swaps_per_second": 1000 / swaps,
        "swap_by_degradations": swaps / found["degradations"]["median_ms"],
    }


def timed(works: Mapping[str, Work], rounds: int, items: int) -> dict[str, dict[str, float]]:
    """Median, least and greatest milliseconds an item of each work, one round after the other.

    works: called with the number of the round; round 0 warms up and is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work(number)
            if number:
                taken[name].append(1000 * (time.perf_counter() - started) / items)
    return {
        name: {
            "median_ms": float(np.median(values)),
            "least_ms": min(values),
            "greatest_ms": max(values),
        }
        for name, values in taken.items()
    }


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    return {
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
