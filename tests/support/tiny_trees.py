"""Trees on seam features that are small enough to follow."""

import numpy as np

from pipeline.seam.features import feature_names
from pipeline.seam.trees import TreeEnsemble


def stump(
    name: str = "outside_share", threshold: float = 0.5, low: float = -1.0, high: float = 1.0
) -> TreeEnsemble:
    """A tree of one decision: `low` if the feature is at most the threshold, else `high`.

    An unknown feature counts as above.
    """
    return TreeEnsemble(
        feature=np.array([feature_names().index(name), 0, 0], np.int32),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, 1, 2], np.int32),
        right=np.array([2, 1, 2], np.int32),
        value=np.array([0.0, low, high]),
        missing_left=np.zeros(3, bool),
        roots=np.zeros(1, np.int32),
        depth=1,
        baseline=0.0,
    )
