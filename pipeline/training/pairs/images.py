"""Degraded images of real faces and of their swaps, with the labels of each paste."""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import FAKE, REAL, UNKNOWN
from pipeline.runtime.params import Params
from pipeline.training.pairs.augment import Degradations, soften_real
from pipeline.training.pairs.framing import framed
from pipeline.training.pairs.sampler import FaceBalance, Item
from pipeline.training.store.reader import FaceStore, surroundings_fracs, view_labels
from pipeline.training.swaps.pseudo_swap import Donor, PseudoSwapper
from pipeline.views.aligned import SQUARE_FRAC
from pipeline.views.boundary import boundary_label
from pipeline.views.cut import view_names
from pipeline.views.face_image import FaceImage
from pipeline.views.paste import SQUARE_PX, arcface_square, seam_fraction, seam_map
from pipeline.views.preprocess import Preprocess

# Streams of random numbers; both images of a pair use the first.
SHARED: Final = 0
SWAP: Final = 1
SOFTEN: Final = 2
DONOR_CANDIDATES: Final = 4

# Left, top and side in whole pixels of an image.
Square = tuple[int, int, int]


def trained_preprocess(params: Params) -> Preprocess:
    """The views that the network scores, as stored in its checkpoint."""
    return Preprocess.from_params(params.preprocess).for_views(params.model.views)


def face_balance(store: FaceStore, params: Params) -> FaceBalance:
    """Sampling weights of the real faces of a store, by source and by surroundings."""
    least = params.calibrate.min_surroundings_frac
    return FaceBalance(
        source_power=params.train.source_power,
        lacks_surroundings=surroundings_fracs(store) < least,
        tight_frac=params.train.tight_pairs_frac,
    )


@dataclass(frozen=True, eq=False)
class PairImage:
    """An image with one face, and the labels of its paste.

    is_inswapper: 0, 1 or -1 for unknown. boundary: one label per view, 0, 1 or -1. whole: the image
    before degradation. seam: (H, W) uint8, 255 x 4a(1-a) in the pixels of `whole`; None if unknown.
    """

    image: FaceImage
    is_fake: int
    is_inswapper: int
    boundary: tuple[int, ...]
    seam: ImageU8 | None
    whole: FaceImage


class PairImages:
    """Degraded images by `Item`, for training both the network and the trees.

    Equal items give equal images in any process. A real face and its swap differ only in the swap
    and in the softening of reals: a pair from the manifest shows the same part of the frame, with
    the keypoints of the real face.
    """

    def __init__(self, store: FaceStore, params: Params) -> None:
        self._store = store
        self._params = params
        self._preprocess = trained_preprocess(params)
        self._swapper = PseudoSwapper(params.pseudo_swap)
        self._degradations = Degradations(params.augment)
        self._donors = find_donors(store)

    def pair_image(self, item: Item) -> PairImage:
        """One degraded image and its labels."""
        rng = self._rng(item, SHARED)
        seed, jitter = int(rng.integers(2**31)), rng.normal(size=(5, 2)).astype(np.float32)
        if item.variant == "real":
            whole, labelled = self._real(item, rng)
        elif item.variant == "pseudo":
            whole, labelled = self._swapped(item, rng)
        else:
            whole, labelled = self._listed_fake(item, rng)
        degraded = self._degradations.apply(whole, seed)
        return replace(
            labelled,
            image=self._jittered(degraded, jitter),
            whole=self._jittered(whole, jitter),
        )

    def _jittered(self, image: FaceImage, jitter: FloatArray) -> FaceImage:
        """Move the keypoints as a different detector would; jitter: (5, 2) standard normal."""
        if image.keypoints is None:
            return image
        moved = self._params.pseudo_swap.keypoint_jitter * image.square_px * jitter
        return replace(image, keypoints=np.asarray(image.keypoints + moved, np.float32))

    def _rng(self, item: Item, stream: int) -> np.random.Generator:
        return np.random.default_rng((self._params.train.seed, item.epoch, item.pair, stream))

    def _framed(self, item: Item, rng: np.random.Generator) -> FaceImage:
        return framed(pair_part(self._store, item), self._params.pseudo_swap, rng)

    def _real(self, item: Item, shared: np.random.Generator) -> tuple[FaceImage, PairImage]:
        image, rng = self._framed(item, shared), self._rng(item, SOFTEN)
        if rng.random() < self._params.pseudo_swap.soften_real_frac:
            image = soften_real(image, rng)
        no_seam = np.zeros(image.rgb.shape[:2], np.uint8)
        views = len(view_names(self._preprocess))
        return image, PairImage(image, REAL, 0, (REAL,) * views, no_seam, image)

    def _swapped(self, item: Item, shared: np.random.Generator) -> tuple[FaceImage, PairImage]:
        real, rng = self._framed(item, shared), self._rng(item, SWAP)
        recipe = self._swapper.draw(rng)
        donor = self._donor(item.face, rng) if recipe.use_donor else None
        # INSwapper pastes with the keypoints of its own detector.
        jitter = self._params.pseudo_swap.keypoint_jitter * real.square_px
        keypoints = self._keypoints(item.face, real) + rng.normal(0, jitter, (5, 2))
        swap = self._swapper.apply(real.rgb, keypoints.astype(np.float32), recipe, donor)
        image = replace(real, rgb=swap.rgb, alpha=swap.alpha)
        # FaceFusion uses box masks with INSwapper's network; a hull stands for UniFace.
        is_inswapper = int(swap.kind != "hull")
        boundary = tuple(
            self._boundary(image, real.rgb, square, is_inswapper) for square in self._squares(real)
        )
        return image, PairImage(image, FAKE, is_inswapper, boundary, _seam_u8(swap.alpha), image)

    def _boundary(
        self, image: FaceImage, real_rgb: ImageU8, square: Square, is_inswapper: int
    ) -> int:
        label, _ = boundary_label(
            image.rgb,
            square,
            label=FAKE,
            is_inswapper=is_inswapper,
            alpha=image.alpha,
            real_rgb=real_rgb,
            min_seam_frac=self._params.crop_faces.boundary_min_seam_frac,
            min_sigma=self._params.crop_faces.boundary_min_sigma,
        )
        return label

    def _listed_fake(self, item: Item, shared: np.random.Generator) -> tuple[FaceImage, PairImage]:
        face, store = item.face, self._store
        image = self._framed(item, shared)
        listed = view_labels(store, face, self._preprocess)
        if image.alpha is not None:
            needed, squares = self._params.crop_faces.boundary_min_seam_frac, self._squares(image)
            visible = [seam_fraction(image.alpha, *square) >= needed for square in squares]
            pairs = zip(listed, visible, strict=True)
            listed = [label if is_visible else min(label, REAL) for label, is_visible in pairs]
        # A pseudo-swap of the manifest may or may not be square, so its INSwapper target is masked.
        is_pseudo = store.faces["fake_type"][face] == "pseudo"
        is_inswapper = UNKNOWN if is_pseudo else int(store.faces["is_inswapper"][face])
        seam = None if image.alpha is None else _seam_u8(image.alpha)
        return image, PairImage(image, FAKE, is_inswapper, tuple(listed), seam, image)

    def _squares(self, image: FaceImage) -> list[Square]:
        """The square of the image that each view shows."""
        scales = self._preprocess.scales
        squares = [Preprocess.square(image.box_xyxy, scale) for scale in scales]
        if self._preprocess.aligned and image.keypoints is not None:
            side = image.square_px / SQUARE_FRAC
            matrix = cv2.invertAffineTransform(arcface_square(image.keypoints))
            x, y = matrix @ np.array([(SQUARE_PX - 1) / 2, (SQUARE_PX - 1) / 2, 1.0])
            squares.append((round(x - side / 2), round(y - side / 2), round(side)))
        return squares

    def _keypoints(self, face: int, image: FaceImage) -> FloatArray:
        if image.keypoints is None:
            raise ValueError(f"face {face} has no keypoints, so it cannot be swapped")
        return image.keypoints

    def _donor(self, face: int, rng: np.random.Generator) -> Donor | None:
        """Draw faces of other groups, and return the one whose pose is nearest to the target's."""
        others = self._donors.of_other_groups(face)
        if not len(others):
            return None
        drawn = rng.choice(others, DONOR_CANDIDATES)
        differences = self._donors.poses[drawn] - self._donors.poses[face]  # (4, 5, 2)
        distances = np.abs(differences).sum(axis=(1, 2))
        chosen = int(drawn[int(distances.argmin())])
        keypoints = self._store.keypoints(chosen)
        return None if keypoints is None else (self._store.context(chosen), keypoints)


def pair_part(store: FaceStore, item: Item) -> FaceImage:
    """The part of the item's context that the other face of its pair shows as well.

    Both faces of a pair from the manifest get the box and the keypoints of the real one, so that
    the same part of the frame is cut and the same degradations are applied.
    """
    face, other = item.face, item.frame_of
    real = face if other is None or item.variant == "real" else other
    box, keypoints = store.box(real, context_of=face), store.keypoints(real, context_of=face)
    image = FaceImage(store.context(face), box, keypoints, store.mask(face))
    if other is None:
        return image
    mine, others = store.window(face), store.window(other)
    low, high = np.maximum(mine[:2], others[:2]), np.minimum(mine[2:], others[2:])
    scale = store.context_scale(face)
    edges = np.concatenate([low - mine[:2], high - mine[:2]]) * scale
    left, top, right, bottom = (round(edge) for edge in edges.tolist())
    return image.cut(left, top, right, bottom)


@dataclass(frozen=True, eq=False)
class Donors:
    """Real faces that can be donors of a swap.

    faces: (n,) indices of the donors. groups: (m,) group of every face in the store. poses:
    (m, 5, 2) keypoints of every face, normalised for position, rotation and size; NaN without
    keypoints.
    """

    faces: NDArray[np.int64]
    groups: NDArray[np.str_]
    poses: FloatArray

    def of_other_groups(self, face: int) -> NDArray[np.int64]:
        """Donors outside the group of `face`, which are certainly different people."""
        others: NDArray[np.int64] = self.faces[self.groups[self.faces] != self.groups[face]]
        return others


def find_donors(store: FaceStore) -> Donors:
    """Find all real faces with keypoints, and compute the poses."""
    poses = np.full((len(store.faces), 5, 2), np.nan, np.float32)
    for face in range(len(store.faces)):
        keypoints = store.keypoints(face)
        if keypoints is not None:
            matrix = arcface_square(keypoints)
            poses[face] = keypoints @ matrix[:, :2].T + matrix[:, 2]
    is_real = store.faces["label"].to_numpy() == REAL
    donors = np.flatnonzero(is_real & ~np.isnan(poses).any(axis=(1, 2)))
    return Donors(donors, store.faces["group"].to_numpy(dtype=np.str_), poses)


def _seam_u8(alpha: FloatArray) -> ImageU8:
    return np.asarray(np.float32(255) * seam_map(alpha) + np.float32(0.5), np.uint8)
