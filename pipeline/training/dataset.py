"""One training picture: context, swap, degradations at native resolution, then the crop."""

import signal
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.labels import FAKE, REAL, UNKNOWN
from pipeline.params import Params
from pipeline.preprocess import FloatArray, ImageU8, Preprocess
from pipeline.quality import QualityThresholds, measure_quality, quality_label
from pipeline.seam import arcface_square, boundary_label, seam_map
from pipeline.training.augment import Degradations, soften_real
from pipeline.training.model import SEAM_MAP_PX
from pipeline.training.pseudo_swap import Donor, PseudoSwapper
from pipeline.training.sampler import Item
from pipeline.training.store import FaceStore

# Streams of randomness; a pair shares the first.
SHARED: Final = 0
SWAP: Final = 1
SOFTEN: Final = 2

DONOR_CANDIDATES: Final = 4


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with one face, and what is known of its paste.

    rgb: (H, W, 3) uint8. seam: (H, W) uint8, 255 x 4a(1-a); None when not known. boundary: of the
    crop wanted: 0, 1 or -1.
    """

    rgb: ImageU8
    is_fake: int
    is_inswapper: int
    boundary: int
    seam: ImageU8 | None


@dataclass(frozen=True)
class Shared:
    """What a real picture and its swap have in common."""

    scale: float
    seed: int
    is_flipped: bool


class TrainDataset(Dataset[dict[str, Tensor]]):
    """Pictures by `Item`; equal items give equal tensors in any process.

    An item is image (3, S, S) float32 normalised, and the targets of
    `pipeline.training.losses.multitask_loss`, of this one picture.
    """

    def __init__(
        self, store: FaceStore, params: Params, preprocess: Preprocess, quality: QualityThresholds
    ) -> None:
        self._store = store
        self._params = params
        self._preprocess = preprocess
        self._seam_preprocess = replace(preprocess, size_px=SEAM_MAP_PX)
        self._quality = quality
        self._swapper = PseudoSwapper(params.pseudo_swap)
        self._degradations = Degradations(params.augment)
        self._donors = find_donors(store)

    def __getitem__(self, item: Item) -> dict[str, Tensor]:
        shared = self._shared(item)
        box_xyxy = self._store.box(item.face)
        scene = self._scene(item, box_xyxy, shared.scale)
        rgb = self._degradations.apply(scene.rgb, shared.seed)
        crop = self._preprocess.crop(rgb, box_xyxy, shared.scale)
        image = self._preprocess.to_input(crop[:, ::-1] if shared.is_flipped else crop)
        measures = measure_quality(rgb, box_xyxy)
        return {
            "image": torch.from_numpy(image),
            "real_fake": torch.tensor(float(scene.is_fake)),
            "inswapper": torch.tensor(float(scene.is_inswapper)),
            "boundary": torch.tensor(float(scene.boundary)),
            "quality": torch.tensor(quality_label(measures, self._quality)),
            "seam_map": torch.from_numpy(self._seam_target(scene, box_xyxy, shared)),
            "seam_known": torch.tensor(float(scene.seam is not None)),
        }

    def _shared(self, item: Item) -> Shared:
        rng = self._rng(item, SHARED)
        scales = self._preprocess.scales
        return Shared(
            scale=scales[int(rng.integers(len(scales)))],
            seed=int(rng.integers(2**31)),
            is_flipped=bool(rng.random() < self._params.augment.flip_frac),
        )

    def _rng(self, item: Item, stream: int) -> np.random.Generator:
        return np.random.default_rng((self._params.train.seed, item.epoch, item.pair, stream))

    def _scene(self, item: Item, box_xyxy: FloatArray, scale: float) -> Scene:
        if item.variant == "real":
            return self._real(item, box_xyxy)
        if item.variant == "pseudo":
            return self._swapped(item, box_xyxy, scale)
        return self._listed_fake(item.face, scale)

    def _real(self, item: Item, box_xyxy: FloatArray) -> Scene:
        rgb, rng = self._store.context(item.face), self._rng(item, SOFTEN)
        if rng.random() < self._params.pseudo_swap.soften_real_frac:
            rgb = soften_real(rgb, box_xyxy, rng)
        return Scene(rgb, REAL, 0, REAL, np.zeros(rgb.shape[:2], np.uint8))

    def _swapped(self, item: Item, box_xyxy: FloatArray, scale: float) -> Scene:
        rgb, rng = self._store.context(item.face), self._rng(item, SWAP)
        recipe = self._swapper.draw(rng)
        donor = self._donor(item.face, rng) if recipe.use_donor else None
        swap = self._swapper.apply(rgb, self._keypoints(item.face), recipe, donor)
        # FaceFusion's box masks go with INSwapper's network, a hull with UniFace's.
        is_inswapper = int(swap.kind != "hull")
        boundary, _ = boundary_label(
            swap.rgb,
            Preprocess.square(box_xyxy, scale),
            label=FAKE,
            is_inswapper=is_inswapper,
            alpha=swap.alpha,
            real_rgb=rgb,
            min_seam_frac=self._params.crop_faces.boundary_min_seam_frac,
            min_sigma=self._params.crop_faces.boundary_min_sigma,
        )
        return Scene(swap.rgb, FAKE, is_inswapper, boundary, _seam_u8(swap.alpha))

    def _listed_fake(self, face: int, scale: float) -> Scene:
        store = self._store
        alpha = store.mask(face)
        rows = store.table[store.face_of_crop == face]
        known = dict(zip(rows["crop_scale"], rows["boundary_label"], strict=True))
        return Scene(
            rgb=store.context(face),
            is_fake=FAKE,
            is_inswapper=int(store.faces["is_inswapper"][face]),
            boundary=int(known.get(scale, UNKNOWN)),
            seam=None if alpha is None else _seam_u8(alpha),
        )

    def _keypoints(self, face: int) -> FloatArray:
        keypoints = self._store.keypoints(face)
        if keypoints is None:
            raise ValueError(f"face {face} has no keypoints and cannot be swapped")
        return keypoints

    def _donor(self, face: int, rng: np.random.Generator) -> Donor | None:
        """Of a few faces of other groups, the one whose pose is most like the target's."""
        others = self._donors.of_other_groups(face)
        if not len(others):
            return None
        drawn = rng.choice(others, DONOR_CANDIDATES)
        distances = np.abs(self._donors.poses[drawn] - self._donors.poses[face]).sum(axis=(1, 2))
        chosen = int(drawn[int(distances.argmin())])
        return self._store.context(chosen), self._keypoints(chosen)

    def _seam_target(self, scene: Scene, box_xyxy: FloatArray, shared: Shared) -> FloatArray:
        """(32, 32) in [0, 1]; zeros where the seam is not known."""
        if scene.seam is None:
            return np.zeros((SEAM_MAP_PX, SEAM_MAP_PX), np.float32)
        crop = self._seam_preprocess.crop(scene.seam, box_xyxy, shared.scale)
        flipped = crop[:, ::-1] if shared.is_flipped else crop
        return flipped.astype(np.float32) / np.float32(255)


def init_worker(_: int) -> None:
    """One thread a loader process; Ctrl-C is for the parent, which then ends its workers.

    A forked process must not touch OpenCV's threads (it waits for the parent's for ever), so the
    parent is on one thread before it forks: `pipeline.training.hardware.same_bits`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)


@dataclass(frozen=True, eq=False)
class Donors:
    """Real faces that can lend their looks to others.

    faces: (n,) their numbers. groups: (m,) the group of every face of the store. poses: (m, 5, 2)
    keypoints of every face without position, turn and size; NaN where there are none.
    """

    faces: NDArray[np.int64]
    groups: NDArray[np.str_]
    poses: FloatArray

    def of_other_groups(self, face: int) -> NDArray[np.int64]:
        """Donors that are surely other people than `face`."""
        others: NDArray[np.int64] = self.faces[self.groups[self.faces] != self.groups[face]]
        return others


def find_donors(store: FaceStore) -> Donors:
    """All real faces with keypoints, and their poses."""
    poses = np.full((len(store.faces), 5, 2), np.nan, np.float32)
    for face in range(len(store.faces)):
        keypoints = store.keypoints(face)
        if keypoints is not None:
            matrix = arcface_square(keypoints)
            poses[face] = keypoints @ matrix[:, :2].T + matrix[:, 2]
    is_real = store.faces["label"].to_numpy() == REAL
    can_lend = np.flatnonzero(is_real & ~np.isnan(poses).any(axis=(1, 2)))
    return Donors(can_lend, store.faces["group"].to_numpy(dtype=np.str_), poses)


def _seam_u8(alpha: FloatArray) -> ImageU8:
    return np.asarray(np.float32(255) * seam_map(alpha) + np.float32(0.5), np.uint8)
