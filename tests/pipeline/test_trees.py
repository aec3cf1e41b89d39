"""pipeline.seam.trees: the same answers as scikit-learn, from a file that is checked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.runtime.errors import BundleError
from pipeline.seam.trees import TreeEnsemble, read_trees
from pipeline.training.trees.fit import averaged, from_sklearn
from tests.support.tiny_trees import stump


def grown(seed: int) -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(400, 6)).astype(np.float32)
    labels = (numbers[:, 0] + numbers[:, 1] * numbers[:, 2] > 0).astype(int)
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    classifier = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, random_state=seed)
    return classifier.fit(numbers, labels), numbers


def test_arrays_answer_as_scikit_learn_does() -> None:
    classifier, numbers = grown(1)
    found = from_sklearn(classifier).logits(numbers)
    np.testing.assert_allclose(found, classifier.decision_function(numbers), atol=1e-9)


def test_an_average_has_the_mean_logit() -> None:
    classifier, numbers = grown(1)
    other, _ = grown(2)
    ensembles = [from_sklearn(classifier), from_sklearn(other)]
    mean = np.mean([trees.logits(numbers) for trees in ensembles], axis=0)
    np.testing.assert_allclose(averaged(ensembles).logits(numbers), mean, atol=1e-9)


def test_a_file_is_the_same_bytes_and_reads_back(tmp_path: Path) -> None:
    classifier, numbers = grown(3)
    trees = from_sklearn(classifier)
    assert trees.to_bytes() == trees.to_bytes()
    (tmp_path / "trees.npz").write_bytes(trees.to_bytes())
    again = read_trees(tmp_path / "trees.npz")
    np.testing.assert_array_equal(again.logits(numbers), trees.logits(numbers))


@pytest.mark.parametrize("content", [b"", b"no archive at all", stump().to_bytes()[:200]])
def test_garbage_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"trees\.npz: not an ensemble"):
        TreeEnsemble.from_bytes(content, "trees.npz")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"left": np.array([7, 1, 2], np.int32)}, "outside the table"),
        ({"roots": np.array([-1], np.int32)}, "outside the table"),
        ({"roots": np.array([3], np.int32)}, "outside the table"),
        ({"feature": np.array([1, -1, 0], np.int32)}, "outside the table"),
        ({"value": np.array([0.0, np.nan, 1.0])}, "not finite"),
        ({"value": np.array([0.0, 1.0])}, "differ in length"),
        ({"roots": np.zeros(0, np.int32)}, "differ in length"),
    ],
)
def test_unsound_trees_are_refused(change: dict[str, np.ndarray], fault: str) -> None:
    broken = replace(stump(), **change).to_bytes()
    with pytest.raises(BundleError, match=fault):
        TreeEnsemble.from_bytes(broken, "trees.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.npz: cannot be read"):
        read_trees(tmp_path / "none.npz")
