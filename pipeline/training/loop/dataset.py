"""One training image: context, swap, degradations at native resolution, then the view."""

import signal
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.core.arrays import FloatArray
from pipeline.runtime.params import Params
from pipeline.training.network.model import SEAM_MAP_PX
from pipeline.training.pairs.images import PairImage, PairImages, trained_preprocess
from pipeline.training.pairs.sampler import Item
from pipeline.training.store.reader import FaceStore
from pipeline.views.cut import cut_view, view_names
from pipeline.views.quality import QualityThresholds, measure_quality, quality_label

VIEW: Final = 3


class TrainDataset(Dataset[dict[str, Tensor]]):
    """Images by `Item`; equal items give equal tensors in any process.

    An item is image (3, S, S) float32 normalised, and the targets of
    `pipeline.training.loop.losses.multitask_loss`, of this one view.
    """

    def __init__(self, store: FaceStore, params: Params, quality: QualityThresholds) -> None:
        self._scenes = PairImages(store, params)
        self._params = params
        self._preprocess = trained_preprocess(params)
        self._quality = quality
        self._views = len(view_names(self._preprocess))

    def __getitem__(self, item: Item) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._params.train.seed, item.epoch, item.pair, VIEW))
        view, is_flipped = (
            int(rng.integers(self._views)),
            rng.random() < self._params.augment.flip_frac,
        )
        scene = self._scenes.scene(item)
        seen = scene.image
        crop = cut_view(self._preprocess, view, seen.rgb, seen.box_xyxy, seen.keypoints)
        seam = self._seam_target(scene, view)
        if is_flipped:
            crop, seam = crop[:, ::-1], seam[:, ::-1].copy()
        measures = measure_quality(seen.rgb, seen.box_xyxy)
        return {
            "image": torch.from_numpy(self._preprocess.to_input(crop)),
            "real_fake": torch.tensor(float(scene.is_fake)),
            "inswapper": torch.tensor(float(scene.is_inswapper)),
            "boundary": torch.tensor(float(scene.boundary[view])),
            "quality": torch.tensor(quality_label(measures, self._quality)),
            "seam_map": torch.from_numpy(seam),
            "seam_known": torch.tensor(float(scene.seam is not None)),
        }

    def _seam_target(self, scene: PairImage, view: int) -> FloatArray:
        """(32, 32) in [0, 1]; zeros where the seam is not known."""
        size = (SEAM_MAP_PX, SEAM_MAP_PX)
        if scene.seam is None:
            return np.zeros(size, np.float32)
        whole = scene.whole
        crop = cut_view(self._preprocess, view, scene.seam, whole.box_xyxy, whole.keypoints)
        small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / np.float32(255)


def init_worker(_: int) -> None:
    """One thread a loader process; Ctrl-C is for the parent, which then ends its workers.

    A forked process must not touch OpenCV's threads (it waits for the parent's for ever), so the
    parent is on one thread before it forks: `pipeline.training.network.hardware.same_bits`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
