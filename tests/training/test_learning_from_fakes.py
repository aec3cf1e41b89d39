"""Fakes of a kind that training cannot make itself are found by learning from the manifest's."""

import numpy as np
import pytest

from pipeline.core.arrays import FloatArray, ImageU8
from pipeline.core.labels import FAKE
from pipeline.runtime.params import Params
from pipeline.training.scoring.metrics import recall_at_fpr
from pipeline.training.store.reader import FaceStore, image_of
from pipeline.training.swaps.pseudo_swap import PLAIN, PseudoSwapper
from pipeline.training.trees.fit import features_of, fit_trees, pair_features, seam_pairs
from tests.support.packed_split import drawn_params, packed_split
from tests.support.synthetic import DrawnFace

SEEDS = (1, 2, 3)
# A 256-px face with restored, hard detail inside a hull: sharper than the image around it, where
# the swaps that training makes (hull_frac 0, restorer_frac 0) are softer.
RESTORED = PseudoSwapper(
    PLAIN.model_copy(update={"hull_frac": 1.0, "restorer_frac": 1.0, "low_pass_frac": 0.0})
)


def restored_swap(face: DrawnFace, person: int) -> tuple[ImageU8, FloatArray]:
    swap = RESTORED.swap(face.rgb, face.keypoints, np.random.default_rng(person))
    return swap.rgb, swap.alpha


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaceStore, FaceStore]:
    """Training people, and others to test on, each with restored swaps."""
    folder = tmp_path_factory.mktemp("splits")
    train = packed_split(folder / "train", people=6, frames=3, swap=restored_swap)
    test = packed_split(folder / "test", people=6, frames=3, first_person=20, swap=restored_swap)
    return train, test


def params_of(seed: int, pseudo_frac: float) -> Params:
    swap = {"frac": pseudo_frac, "restorer_frac": 0.0, "boost_frac": 0.0, "tight_frac": 0.0}
    return drawn_params(
        pseudo_swap=swap,
        augment={"clean_frac": 1.0},
        seam={"pairs": 80, "trees": 40, "leaves": 4, "seeds": [seed]},
        train={"seed": seed},
    )


@pytest.mark.slow
def test_what_finds_them_is_learning_from_the_manifest(
    stores: tuple[FaceStore, FaceStore],
) -> None:
    """Median over three seeds: recall of other people's restored swaps at no false alarm."""
    train, test = stores
    features = features_of(image_of(test, face) for face in range(len(test.faces)))
    labels = (test.faces["label"] == FAKE).to_numpy(dtype=np.int64)
    recalls = {}
    for pseudo_frac in (1.0, 0.5):
        logits = []
        for seed in SEEDS:
            params = params_of(seed, pseudo_frac)
            pairs = seam_pairs(train, params)
            trees = fit_trees(*pair_features(pairs, train, params, workers=1), params.seam)
            logits.append(trees.logits(features))
        recalls[pseudo_frac] = [recall_at_fpr(labels, one, 0.0) for one in logits]
    assert np.median(recalls[1.0]) < 0.3
    assert np.median(recalls[0.5]) > 0.7
