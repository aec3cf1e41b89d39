"""Benchmark of pseudo-swaps on one core, against degradations by albumentations."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from pipeline.core.labels import REAL
from pipeline.runtime.params import load_params
from pipeline.training.pairs.augment import Degradations
from pipeline.training.store.reader import FaceStore, evenly, image_of, open_zarr
from pipeline.training.swaps.pseudo_swap import PseudoSwapper
from pipeline.views.face_image import FaceImage
from tests.bench.options import Options
from tests.bench.rows import Goal, Row, faster
from tests.bench.timing import Works, timed

CONTEXT_PX = 512
IMAGES = 40
GOAL = Goal(30, of="ours")


def rows(options: Options) -> list[Row]:
    """Raises ManifestError without a packed split."""
    images = context_images(open_zarr(Path("data/zarr/train.zarr")), IMAGES)
    cv2.setNumThreads(1)
    found = timed(swap_works(images), options.rounds)
    return [
        faster(
            f"pseudo-swap of a {CONTEXT_PX}-px context, one core",
            "training's degradations by albumentations and codecs",
            found["swap"],
            found["degrade"],
            len(images),
            "images/s",
            GOAL,
        )
    ]


def swap_works(images: Sequence[FaceImage]) -> Works:
    """Functions that swap or degrade all images, with new random numbers in each call."""
    params = load_params()
    swapper, degradations = PseudoSwapper(params.pseudo_swap), Degradations(params.augment)
    seeds, others = count(), count()

    def swap() -> None:
        for image in images:
            if image.keypoints is not None:
                rng = np.random.default_rng(next(seeds))
                swapper.swap(image.rgb, image.keypoints, rng)

    def degrade() -> None:
        for image in images:
            degradations.apply(image, next(others))

    return {"swap": swap, "degrade": degrade}


def context_images(store: FaceStore, most: int) -> list[FaceImage]:
    """Evenly spaced real faces with keypoints, with contexts scaled to a longer side of 512 px.

    Raises ValueError if the split has none.
    """
    reals = np.flatnonzero(store.faces["label"].to_numpy() == REAL)
    known = np.array([face for face in reals if store.keypoints(int(face)) is not None], np.int64)
    if not len(known):
        raise ValueError("no real face with keypoints to swap")
    images = [image_of(store, int(face)) for face in evenly(known, most)]
    return [one.resized(CONTEXT_PX / max(one.rgb.shape[:2])) for one in images]
