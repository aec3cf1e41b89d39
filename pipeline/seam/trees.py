"""Boosted trees as plain arrays: fitted with scikit-learn, evaluated with numpy alone."""

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.runtime.errors import BundleError


def read_trees(path: Path) -> "TreeEnsemble":
    """Read an ensemble of trees; raises BundleError naming a file that is missing or invalid."""
    try:
        return TreeEnsemble.from_bytes(path.read_bytes(), str(path))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from None


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """All trees in one table of nodes; a leaf points to itself.

    feature, left, right: (nodes,) int32. threshold, value: (nodes,) float64; a feature at or below
    the threshold goes left. missing_left: (nodes,) bool, True if NaN goes left. roots: (trees,)
    int32. depth: maximum number of steps from a root to a leaf. baseline: added to the sum of the
    leaves.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    roots: NDArray[np.int32]
    depth: int
    baseline: float

    def logits(self, features: ArrayLike) -> NDArray[np.float64]:
        """(n, k) features, NaN where unknown -> (n,) sums of the leaves they reach."""
        values = np.asarray(features, np.float64)
        rows = np.arange(len(values))[:, None]  # (n, 1)
        node = np.broadcast_to(self.roots, (len(values), len(self.roots)))  # (n, trees)
        for _ in range(self.depth):
            x = values[rows, self.feature[node]]  # (n, trees)
            goes_left = np.where(np.isnan(x), self.missing_left[node], x <= self.threshold[node])
            node = np.where(goes_left, self.left[node], self.right[node])
        return self.baseline + np.asarray(self.value[node].sum(axis=1))

    def to_bytes(self) -> bytes:
        """Uncompressed .npz, always the same bytes for the same trees."""
        stream = io.BytesIO()
        np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, label: str) -> "TreeEnsemble":
        """Inverse of `to_bytes`; raises BundleError naming `label` for any other content."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found = {field.name: arrays[field.name] for field in fields(cls)}
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{label}: not an ensemble of trees ({error})") from None
        depth, baseline = int(found.pop("depth")), float(found.pop("baseline"))
        trees = cls(**found, depth=depth, baseline=baseline)
        trees._require_sound(label)
        return trees

    def _require_sound(self, label: str) -> None:
        """Raise BundleError for nodes outside the table or leaves that are not finite."""
        nodes = len(self.value)
        columns = (self.feature, self.threshold, self.left, self.right, self.missing_left)
        links = np.concatenate([self.left, self.right, self.roots])
        if any(len(column) != nodes for column in columns) or not len(self.roots):
            raise BundleError(f"{label}: the trees' columns differ in length")
        if links.min() < 0 or links.max() >= nodes or self.feature.min() < 0:
            raise BundleError(f"{label}: a node points outside the table of {nodes} nodes")
        if not (np.isfinite(self.value).all() and np.isfinite(self.baseline)):
            raise BundleError(f"{label}: a leaf is not finite")
