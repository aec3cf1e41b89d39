"""pipeline.training.loop.dataset: training images and their targets."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipeline.runtime.params import Params, load_params
from pipeline.runtime.sections import AugmentParams, PseudoSwapParams
from pipeline.training.loop.dataset import TrainDataset, init_worker
from pipeline.training.network.hardware import same_bits
from pipeline.training.pairs.images import PairImages, face_balance, find_donors, trained_preprocess
from pipeline.training.pairs.sampler import Item, PairSampler, Variant
from pipeline.training.store.reader import FaceStore
from pipeline.views.aligned import aligned_view
from pipeline.views.cut import view_names
from pipeline.views.quality import QualityThresholds
from tests.support.packed_split import PREPROCESS, drawn_params, packed_split

QUALITY = QualityThresholds(
    face_px=(60.0, 40.0), sharpness=(50.0, 10.0), blockiness=(0.1, 0.5), noise_level=(4.0, 12.0)
)
REAL_FACE, FAKE_FACE = 0, 1
# Part of a 2.0x crop outside the paste.
CORNER = (slice(0, 4), slice(0, 4))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    return packed_split(tmp_path_factory.mktemp("split"), people=3, frames=1)


def varied(*views: str) -> Params:
    """The random variation of params.yaml, on small images; by default with all views."""
    return drawn_params(model={"views": list(views or ("1.1x", "1.5x", "2x", "aligned"))})


def params(swap: dict[str, float] | None = None, *views: str, **augment: float) -> Params:
    """Parameters without random variation or degradation except those given."""
    chosen = varied(*views)
    plain_swap = {name: 0.0 for name in PseudoSwapParams.model_fields if name.endswith("_frac")}
    plain_swap |= {"keypoint_jitter": 0.0}
    plain = {name: 0.0 for name in AugmentParams.model_fields if name.endswith("_frac")}
    return chosen.model_copy(
        update={
            "pseudo_swap": chosen.pseudo_swap.model_copy(update=plain_swap | (swap or {})),
            "augment": chosen.augment.model_copy(update=plain | augment),
        }
    )


def dataset(store: FaceStore, chosen: Params) -> TrainDataset:
    return TrainDataset(store, chosen, QUALITY)


def items(face: int, variant: Variant, count: int = 12) -> list[Item]:
    return [Item(epoch=1, pair=pair, face=face, variant=variant) for pair in range(count)]


def to_crop(image: torch.Tensor) -> np.ndarray:
    mean, std = (np.array(v)[:, None, None] for v in (PREPROCESS.mean, PREPROCESS.std))
    return np.moveaxis(np.rint((image.numpy() * std + mean) * 255), 0, -1).astype(np.uint8)


def test_the_views_are_those_of_the_params() -> None:
    assert view_names(trained_preprocess(varied())) == ["1.1x", "1.5x", "2x", "aligned"]
    assert trained_preprocess(varied("aligned", "1.5x")) == replace(
        PREPROCESS, scales=(1.5,), aligned=True
    )


def test_an_undegraded_real_face_is_one_of_its_views(store: FaceStore) -> None:
    keypoints = store.keypoints(REAL_FACE)
    assert keypoints is not None
    aligned = aligned_view(store.context(REAL_FACE), keypoints, PREPROCESS.size_px).rgb
    stored = {store.crops(row).tobytes() for row in np.flatnonzero(store.face_of_crop == REAL_FACE)}
    seen = set()
    for item in items(REAL_FACE, "real", 24):
        target = dataset(store, params())[item]
        seen.add(to_crop(target["image"]).tobytes())
        assert target["real_fake"] == target["inswapper"] == target["boundary"] == 0
        assert target["seam_known"] == 1
        assert not target["seam_map"].any()
    assert seen == stored | {aligned.tobytes()}  # exactly the four views are drawn


@pytest.mark.parametrize(("view", "most"), [("2x", 0.9), ("aligned", 0.95)])
def test_a_swap_differs_from_its_pair_only_in_the_paste(
    store: FaceStore, view: str, most: float
) -> None:
    data = dataset(store, params(None, view))
    for real_item in items(REAL_FACE, "real", 6):
        swap = data[replace(real_item, variant="pseudo")]
        real = data[real_item]
        changed = (swap["image"] != real["image"]).any(dim=0)
        assert 0.1 < changed.float().mean() < most
        assert not changed[CORNER].any()
        assert swap["real_fake"] == swap["inswapper"] == 1
        seam = swap["seam_map"]
        assert seam.min() >= 0
        assert seam.max() <= 1
        assert seam.shape == (32, 32)


def test_in_the_aligned_view_the_seam_lies_on_the_same_lines(store: FaceStore) -> None:
    """The paste square covers cells 4 to 27; its opacity is 0.5 at a tenth of the side inside."""
    data = dataset(store, params(None, "aligned"))
    for face in (0, 2, 4):
        seam = data[items(face, "pseudo")[0]]["seam_map"].numpy()
        assert seam[:3].max() == seam[29:].max() == seam[:, :3].max() == seam[:, 29:].max() == 0
        assert seam[12:20, 12:20].max() == 0
        middle = seam[12:20]
        columns = middle.mean(axis=0)
        assert 4 <= int(columns[:16].argmax()) <= 7
        assert 24 <= 16 + int(columns[16:].argmax()) <= 27
        assert columns.max() > 0.5


def test_the_boundary_is_visible_in_wide_crops_only(store: FaceStore) -> None:
    data = dataset(store, params())
    by_boundary: dict[float, list[float]] = {0.0: [], 1.0: []}
    for item in items(REAL_FACE, "pseudo", 20):
        target = data[item]
        by_boundary[float(target["boundary"])].append(float(target["seam_map"].mean()))
    assert by_boundary[0.0]
    assert by_boundary[1.0]
    assert max(by_boundary[0.0]) < min(by_boundary[1.0])


def test_both_images_of_a_pair_get_the_same_degradation(store: FaceStore) -> None:
    data = dataset(store, params(None, "2x", noise_frac=1.0, sharpen_frac=1.0, flip_frac=0.5))
    for real_item in items(REAL_FACE, "real", 6):
        real, swap = data[real_item], data[replace(real_item, variant="pseudo")]
        assert torch.equal(real["image"][:, *CORNER], swap["image"][:, *CORNER])
        assert not torch.equal(real["image"], swap["image"])


def test_a_flip_mirrors_image_and_seam_map(store: FaceStore) -> None:
    plain, flipped = (dataset(store, params(flip_frac=frac)) for frac in (0.0, 1.0))
    item = items(REAL_FACE, "pseudo")[0]
    for name in ("image", "seam_map"):
        assert torch.equal(plain[item][name].flip(-1), flipped[item][name])


def test_a_listed_fake_has_its_own_labels_and_mask(store: FaceStore) -> None:
    for view, boundary in (("1.1x", 0), ("2x", 1), ("aligned", 1)):
        target = dataset(store, params(None, view))[items(FAKE_FACE, "fake")[0]]
        assert target["real_fake"] == target["inswapper"] == 1
        assert target["boundary"] == boundary
        assert target["seam_known"] == 1
        assert target["seam_map"].max() > 0.5


def test_a_fake_without_a_mask_has_no_known_seam(store: FaceStore) -> None:
    images = replace(store.images, has_mask=np.zeros(len(store.faces), bool))  # type: ignore[type-var]
    target = dataset(replace(store, images=images), params())[items(FAKE_FACE, "fake")[0]]
    assert target["seam_known"] == 0
    assert not target["seam_map"].any()


def test_a_hull_swap_is_fake_but_not_inswapper(store: FaceStore) -> None:
    target = dataset(store, params({"hull_frac": 1.0}))[items(REAL_FACE, "pseudo")[0]]
    assert (target["real_fake"], target["inswapper"]) == (1, 0)


def test_only_reals_are_softened(store: FaceStore) -> None:
    plain, soft = dataset(store, params()), dataset(store, params({"soften_real_frac": 1.0}))
    for item in items(REAL_FACE, "real", 4):
        assert not torch.equal(plain[item]["image"], soft[item]["image"])
        assert soft[item]["real_fake"] == 0
    for item in items(REAL_FACE, "pseudo", 4):
        assert torch.equal(plain[item]["image"], soft[item]["image"])


def test_quality_is_measured_on_the_degraded_image(store: FaceStore) -> None:
    clean, degraded = params(), params(jpeg_frac=1.0, jpeg_min=5, jpeg_max=6)
    item = items(REAL_FACE, "real")[0]
    assert dataset(store, degraded)[item]["quality"] > dataset(store, clean)[item]["quality"]


def test_donors_are_other_people_with_finite_poses(store: FaceStore) -> None:
    donors = find_donors(store)
    groups = np.array(store.faces["group"])
    for face in range(len(store.faces)):
        others = donors.of_other_groups(face)
        assert len(others) == 2
        assert (groups[others] != groups[face]).all()
    assert np.isfinite(donors.poses).all()


def test_a_donor_changes_the_swap(store: FaceStore) -> None:
    own, other = (dataset(store, params({"cross_identity_frac": frac})) for frac in (0.0, 1.0))
    item = items(REAL_FACE, "pseudo")[3]
    assert not torch.equal(own[item]["image"], other[item]["image"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_number_of_processes_changes_nothing(store: FaceStore) -> None:
    data = dataset(store, varied())
    batches: list[list[dict[str, torch.Tensor]]] = []
    for workers in (0, 2):
        sampler = PairSampler(store.faces, pseudo_frac=0.5, pairs=8, batch_size=4, seed=1)
        sampler.set_epoch(3)
        loader: DataLoader[Any] = DataLoader(
            data, batch_sampler=sampler, num_workers=workers, worker_init_fn=init_worker
        )
        with same_bits(threads=2):
            batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) == 4
    for one, two in zip(*batches, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            assert torch.equal(one[name], two[name]), name


def test_equal_items_give_equal_tensors(store: FaceStore) -> None:
    data, again = dataset(store, varied()), dataset(store, varied())
    for item in [*items(REAL_FACE, "pseudo", 3), *items(REAL_FACE, "real", 3)]:
        first, second = data[item], again[item]
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_real_image_and_its_swap_have_equal_framing(store: FaceStore) -> None:
    """With all random variation, image size, box and keypoints are equal; only labels differ."""
    images = PairImages(store, varied())
    sizes = set()
    for item in items(REAL_FACE, "real", 16):
        real = images.pair_image(item)
        swap = images.pair_image(replace(item, variant="pseudo"))
        assert real.image.rgb.shape == swap.image.rgb.shape
        np.testing.assert_array_equal(real.image.keypoints, swap.image.keypoints)
        np.testing.assert_array_equal(real.image.box_xyxy, swap.image.box_xyxy)
        assert (real.is_fake, real.is_inswapper, swap.is_fake, swap.is_inswapper) == (0, 0, 1, 1)
        assert real.boundary == (0, 0, 0, 0)
        assert swap.seam is not None
        assert swap.seam.shape == swap.whole.rgb.shape[:2]
        sizes.add(real.image.rgb.shape)
    assert len(sizes) > 6


def test_keypoints_are_jittered_like_those_of_a_different_detector(store: FaceStore) -> None:
    still, moved = (PairImages(store, params({"keypoint_jitter": px})) for px in (0.0, 0.01))
    steps = []
    for item in items(REAL_FACE, "real", 30):
        before, after = still.pair_image(item).image, moved.pair_image(item).image
        assert before.keypoints is not None
        assert after.keypoints is not None
        np.testing.assert_array_equal(before.rgb, after.rgb)
        steps.append((after.keypoints - before.keypoints) / before.square_px)
    # 300 normal values, whose standard deviation is known to 4 %.
    assert np.std(steps) == pytest.approx(0.01, rel=0.15)
    assert abs(np.mean(steps)) < 0.002


def test_the_balance_marks_faces_without_surroundings(store: FaceStore) -> None:
    params, faces = load_params(), store.faces.copy()
    faces.loc[[0, 3], "context_x"] += 1000  # their surroundings are outside the image
    balance = face_balance(replace(store, faces=faces), params)
    assert balance.lacks_surroundings is not None
    assert np.flatnonzero(balance.lacks_surroundings).tolist() == [0, 3]
    assert balance.source_power == params.train.source_power
    assert balance.tight_frac == params.train.tight_pairs_frac


def test_labels_of_a_listed_fake(store: FaceStore) -> None:
    """The INSwapper label of the manifest's pseudo-swaps is unknown: they may not be square."""
    whole = PairImages(store, params()).pair_image(items(FAKE_FACE, "fake")[0])
    assert whole.boundary == (0, 1, 1, 1)
    assert whole.is_inswapper == 1
    listed = replace(store, faces=store.faces.assign(fake_type="pseudo"))
    assert PairImages(listed, params()).pair_image(items(FAKE_FACE, "fake")[0]).is_inswapper == -1
