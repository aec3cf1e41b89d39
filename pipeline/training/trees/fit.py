"""Boosted trees on seam features, fitted to the same pairs that the network learns from."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.core.arrays import FloatArray
from pipeline.runtime.params import Params
from pipeline.runtime.sections import SeamParams
from pipeline.runtime.workers import map_in_processes
from pipeline.seam.features import feature_names, seam_features
from pipeline.seam.rings import ring_statistics
from pipeline.seam.trees import TreeEnsemble
from pipeline.training.pairs.images import PairImages, face_balance
from pipeline.training.pairs.sampler import Item, PairSampler
from pipeline.training.scoring.metrics import area_under_roc, class_counts
from pipeline.training.store.reader import FaceStore, image_of, surroundings_fracs
from pipeline.views.face_image import FaceImage
from pipeline.views.paste import require_keypoints

CHUNK = 64


def seam_pairs(store: FaceStore, params: Params) -> PairSampler:
    """The `seam.pairs` pairs to learn from. Raises ManifestError when no pair can be made."""
    return PairSampler(
        store.faces,
        pseudo_frac=params.pseudo_swap.frac,
        pairs=params.seam.pairs,
        batch_size=2,
        seed=params.train.seed,
        balance=face_balance(store, params),
    )


def pair_features(
    pairs: PairSampler, store: FaceStore, params: Params, workers: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Seam features (2 x pairs, k) and labels of degraded pairs of the store.

    pairs: from `seam_pairs`. workers: processes; they affect speed only. Raises DetectorError for a
    face without keypoints.
    """
    items = pairs.items(epoch=0)
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    parts = map_in_processes(
        partial(_statistics, store, params), chunks, workers, "chunks of pairs"
    )
    labels = np.array([int(item.variant != "real") for item in items])
    return seam_features(np.concatenate(parts)), labels


def fit_trees(features: FloatArray, labels: NDArray[np.int64], params: SeamParams) -> TreeEnsemble:
    """One ensemble of `seam.trees` trees for each of `seam.seeds`, averaged into one."""
    return averaged([_fit_one(features, labels, params, seed) for seed in params.seeds])


def averaged(ensembles: Sequence[TreeEnsemble]) -> TreeEnsemble:
    """The ensemble whose logits are the mean of the given ensembles' logits."""
    shifts = np.cumsum([0, *(len(trees.value) for trees in ensembles[:-1])])
    pairs = list(zip(ensembles, shifts, strict=True))
    return TreeEnsemble(
        feature=np.concatenate([trees.feature for trees in ensembles]),
        threshold=np.concatenate([trees.threshold for trees in ensembles]),
        left=np.concatenate([trees.left + shift for trees, shift in pairs]).astype(np.int32),
        right=np.concatenate([trees.right + shift for trees, shift in pairs]).astype(np.int32),
        value=np.concatenate([trees.value for trees in ensembles]) / len(ensembles),
        missing_left=np.concatenate([trees.missing_left for trees in ensembles]),
        roots=np.concatenate([trees.roots + shift for trees, shift in pairs]).astype(np.int32),
        depth=max(trees.depth for trees in ensembles),
        baseline=float(np.mean([trees.baseline for trees in ensembles])),
    )


def features_of(images: Iterable[FaceImage]) -> FloatArray:
    """(n, k) seam features of images of one face each."""
    statistics = [ring_statistics(p.rgb, require_keypoints(p.keypoints)) for p in images]
    return seam_features(np.stack(statistics))


def seam_report(trees: TreeEnsemble, store: FaceStore, min_surroundings: float) -> dict[str, Any]:
    """metrics/seam_report.json: results of the trees alone on the stored validation split."""
    logits = trees.logits(features_of(image_of(store, face) for face in range(len(store.faces))))
    labels, groups = store.faces["label"].to_numpy(), store.faces["group"].to_numpy()
    share = surroundings_fracs(store)
    kinds = {
        "all": np.ones(len(labels), bool),
        "open": share >= min_surroundings,
        "tight": share < min_surroundings,
    }
    report: dict[str, Any] = {"numbers": len(feature_names()), "trees": len(trees.roots)}
    for name, chosen in kinds.items():
        count = class_counts(labels[chosen], groups[chosen])
        known = min(count.values()) > 0
        auc = area_under_roc(labels[chosen], logits[chosen]) if known else None
        report[name] = {"auc": auc, **count}
    return report


def seam_summary(report: dict[str, Any], val_set: str) -> dict[str, Any]:
    """metrics/seam.json: the main numbers of `seam_report`.

    val_set: digest of the split's faces (`reader.set_digest`).
    """
    return {**report["all"], "val_set": val_set}


def _fit_one(
    features: FloatArray, labels: NDArray[np.int64], params: SeamParams, seed: int
) -> TreeEnsemble:
    classifier = HistGradientBoostingClassifier(
        max_iter=params.trees,
        max_leaf_nodes=params.leaves,
        learning_rate=params.learning_rate,
        l2_regularization=params.l2,
        max_features=params.feature_frac,
        early_stopping=False,
        random_state=seed,
    )
    return from_sklearn(classifier.fit(features, labels))


def from_sklearn(classifier: Any) -> TreeEnsemble:
    """Arrays of a fitted two-class HistGradientBoostingClassifier.

    scikit-learn has no public access to its trees; a test compares the outputs of both.
    """
    tables = [stage[0].nodes for stage in classifier._predictors]
    sizes = [len(table) for table in tables]
    offsets = np.cumsum([0, *sizes])[:-1]
    nodes, shift = np.concatenate(tables), np.repeat(offsets, sizes)
    own, is_leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
    return TreeEnsemble(
        feature=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int32),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(is_leaf, own, nodes["left"] + shift).astype(np.int32),
        right=np.where(is_leaf, own, nodes["right"] + shift).astype(np.int32),
        value=nodes["value"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        roots=offsets.astype(np.int32),
        depth=int(max(table["depth"].max() for table in tables)),
        baseline=float(classifier._baseline_prediction.ravel()[0]),
    )


def _statistics(store: FaceStore, params: Params, items: Sequence[Item]) -> FloatArray:
    pairs = PairImages(store, params)
    images = (pairs.pair_image(item).image for item in items)
    return np.stack([ring_statistics(p.rgb, require_keypoints(p.keypoints)) for p in images])
