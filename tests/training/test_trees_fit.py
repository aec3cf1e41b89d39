"""pipeline.training.trees.fit: numbers of pairs, and trees that learn from them."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime.errors import ManifestError
from pipeline.runtime.params import Params, load_params
from pipeline.training.scoring.metrics import area_under_roc
from pipeline.training.store.reader import FaceStore
from pipeline.training.trees.fit import (
    fit_trees,
    pair_features,
    seam_pairs,
    seam_report,
    seam_summary,
)
from tests.support.packed_split import packed_split


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    return packed_split(tmp_path_factory.mktemp("split"), people=4, frames=2)


@pytest.fixture(scope="module")
def params() -> Params:
    """Swaps alone, seldom degraded; few small trees."""
    found = load_params()
    swap = {"frac": 1.0, "square_min_px": 80, "soften_real_frac": 0.3, "tight_frac": 0.0}
    seam = {"pairs": 40, "trees": 20, "leaves": 4, "seeds": [1, 2]}
    return found.model_copy(
        update={
            "pseudo_swap": found.pseudo_swap.model_copy(update=swap),
            "augment": found.augment.model_copy(update={"clean_frac": 1.0}),
            "seam": found.seam.model_copy(update=seam),
        }
    )


@pytest.mark.slow
def test_processes_change_nothing_and_the_trees_learn(store: FaceStore, params: Params) -> None:
    numbers, labels = pair_features(seam_pairs(store, params), store, params, workers=1)
    again, same = pair_features(seam_pairs(store, params), store, params, workers=2)
    np.testing.assert_array_equal(numbers, again)
    np.testing.assert_array_equal(labels, same)
    assert labels.tolist() == [0, 1] * 40
    trees = fit_trees(numbers, labels, params.seam)
    assert len(trees.roots) == 40
    logits = trees.logits(numbers)
    assert logits[labels == 1].mean() > logits[labels == 0].mean() + 0.5
    assert fit_trees(numbers, labels, params.seam).to_bytes() == trees.to_bytes()
    report = seam_report(trees, store, 0.02)
    counts = [report[kind][name] for kind in ("open", "tight") for name in ("n_real", "n_fake")]
    assert sum(counts) == len(store.faces)
    assert seam_summary(report, "0a") == {**report["all"], "val_set": "0a"}
    assert report["all"]["groups_real"] == store.faces["group"].nunique()
    assert 0 <= report["all"]["auc"] <= 1


@pytest.mark.slow
def test_the_trees_tell_swaps_of_other_people(
    store: FaceStore, params: Params, tmp_path: Path
) -> None:
    trees = fit_trees(
        *pair_features(seam_pairs(store, params), store, params, workers=1), params.seam
    )
    others = packed_split(tmp_path, people=3, frames=2, first_person=20, fakes=False)
    numbers, labels = pair_features(seam_pairs(others, params), others, params, workers=1)
    assert area_under_roc(labels, trees.logits(numbers)) > 0.9


def test_a_face_without_keypoints_is_refused(tmp_path: Path, params: Params) -> None:
    empty = packed_split(tmp_path, people=2, frames=1, fakes=False)
    columns = [f"kp{k}_{axis}" for k in range(5) for axis in "xy"]
    empty.faces.loc[:, columns] = np.nan
    with pytest.raises(ManifestError, match="keypoints"):
        seam_pairs(empty, params)
