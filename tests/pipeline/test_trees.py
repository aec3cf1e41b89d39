"""pipeline.seam.trees: the same outputs as scikit-learn, and validation of the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.runtime.errors import BundleError
from pipeline.seam.trees import TreeEnsemble, read_trees
from pipeline.training.trees.fit import averaged, from_sklearn
from tests.support.tiny_trees import stump


def fitted(seed: int) -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(400, 6)).astype(np.float32)
    labels = (features[:, 0] + features[:, 1] * features[:, 2] > 0).astype(int)
    features[rng.random(features.shape) < 0.1] = np.nan
    classifier = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, random_state=seed)
    return classifier.fit(features, labels), features


def test_arrays_give_the_outputs_of_scikit_learn() -> None:
    classifier, features = fitted(1)
    found = from_sklearn(classifier).logits(features)
    np.testing.assert_allclose(found, classifier.decision_function(features), atol=1e-9)


def test_an_average_has_the_mean_logit() -> None:
    classifier, features = fitted(1)
    other, _ = fitted(2)
    ensembles = [from_sklearn(classifier), from_sklearn(other)]
    mean = np.mean([trees.logits(features) for trees in ensembles], axis=0)
    np.testing.assert_allclose(averaged(ensembles).logits(features), mean, atol=1e-9)


def test_files_are_reproducible_and_round_trip(tmp_path: Path) -> None:
    classifier, features = fitted(3)
    trees = from_sklearn(classifier)
    assert trees.to_bytes() == trees.to_bytes()
    (tmp_path / "trees.npz").write_bytes(trees.to_bytes())
    again = read_trees(tmp_path / "trees.npz")
    np.testing.assert_array_equal(again.logits(features), trees.logits(features))


@pytest.mark.parametrize("content", [b"", b"no archive at all", stump().to_bytes()[:200]])
def test_other_content_is_rejected_by_name(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"trees\.npz: not an ensemble"):
        TreeEnsemble.from_bytes(content, "trees.npz")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"left": np.array([7, 1, 2], np.int32)}, "outside the table"),
        ({"roots": np.array([-1], np.int32)}, "outside the table"),
        ({"value": np.array([0.0, np.nan, 1.0])}, "not finite"),
        ({"value": np.array([0.0, 1.0])}, "differ in length"),
        ({"roots": np.zeros(0, np.int32)}, "differ in length"),
    ],
)
def test_invalid_trees_are_rejected(change: dict[str, np.ndarray], fault: str) -> None:
    broken = replace(stump(), **change).to_bytes()
    with pytest.raises(BundleError, match=fault):
        TreeEnsemble.from_bytes(broken, "trees.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.npz: cannot be read"):
        read_trees(tmp_path / "none.npz")
