"""Training images: context, swap and degradations at native resolution, then one view."""

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
    """Training images by `Item`; equal items give equal tensors in any process.

    Each is a dict with one random view as "image", normalised (3, S, S) float32, and the targets of
    `pipeline.training.loop.losses.multitask_loss` for that view.
    """

    def __init__(self, store: FaceStore, params: Params, quality: QualityThresholds) -> None:
        self._images = PairImages(store, params)
        self._params = params
        self._preprocess = trained_preprocess(params)
        self._quality = quality
        self._views = len(view_names(self._preprocess))

    def __getitem__(self, item: Item) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._params.train.seed, item.epoch, item.pair, VIEW))
        view = int(rng.integers(self._views))
        is_flipped = rng.random() < self._params.augment.flip_frac
        labelled = self._images.pair_image(item)
        face = labelled.image
        crop = cut_view(self._preprocess, view, face.rgb, face.box_xyxy, face.keypoints)
        seam = self._seam_target(labelled, view)
        if is_flipped:
            crop, seam = crop[:, ::-1], seam[:, ::-1].copy()
        measures = measure_quality(face.rgb, face.box_xyxy)
        return {
            "image": torch.from_numpy(self._preprocess.to_input(crop)),
            "real_fake": torch.tensor(float(labelled.is_fake)),
            "inswapper": torch.tensor(float(labelled.is_inswapper)),
            "boundary": torch.tensor(float(labelled.boundary[view])),
            "quality": torch.tensor(quality_label(measures, self._quality)),
            "seam_map": torch.from_numpy(seam),
            "seam_known": torch.tensor(float(labelled.seam is not None)),
        }

    def _seam_target(self, labelled: PairImage, view: int) -> FloatArray:
        """Seam map of the view: (32, 32) in [0, 1]; zeros if the seam is unknown."""
        size = (SEAM_MAP_PX, SEAM_MAP_PX)
        if labelled.seam is None:
            return np.zeros(size, np.float32)
        whole = labelled.whole
        crop = cut_view(self._preprocess, view, labelled.seam, whole.box_xyxy, whole.keypoints)
        small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / np.float32(255)


def init_worker(_: int) -> None:
    """Set up a loader process: one thread, and Ctrl-C only for the parent, which ends its workers.

    A forked process must not change OpenCV's threads, because it would wait for the parent's
    threads forever. `pipeline.training.network.hardware.same_bits` therefore sets one thread in the
    parent before it forks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
