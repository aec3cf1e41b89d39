"""Leak-proof groups of crops, and their division into train, val and test.

A group is a connected component: two crops belong to one group when they have a person in common
(target or, with split_groups.link_sources, source of a swap) or a video (their own or the
original). Groups with crops of
split_groups.test_sources go to test as a whole.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.components import connected_groups
from pipeline.core.labels import SPLITS
from pipeline.core.tables import Table, select
from pipeline.runtime.errors import SplitError
from pipeline.runtime.sections import SplitGroupsParams

# Number of random orders tried; the best division is used.
RESTARTS = 8
# Mean squared error of the fractions below which no further order is tried.
GOOD_ENOUGH = 1e-6
GROUPS_SHOWN = 12

# Classes that every split must contain; INSwapper fakes only if there are any.
NEEDED = ("real", "fake", "inswapper")

# Crops of a group by class: "real", "fake", and the fake_type of fakes.
Counts = Mapping[str, int]
CountTable = NDArray[np.int64]
Names = NDArray[np.object_]


def assign_groups(crops: Table, params: SplitGroupsParams) -> dict[str, Table]:
    """Divide a table of CropRow by group into {"train": ..., "val": ..., "test": ...} of SplitRow.

    Rows stay in the given order. Groups with a crop of one of params.test_sources go to test. The
    fractions refer to all other groups and are met for each class as closely as whole groups allow.
    The division depends on the set of rows and on the seed, not on the rows' order.
    Raises SplitError for a test source that does not occur, and when a split would have no real,
    no fake or (if there are any) no INSwapper crops.
    """
    if not len(crops["identity_id"]):
        raise SplitError("split_groups: there are no crops to split")
    groups = find_groups(crops, link_sources=params.link_sources)
    group = np.array([groups[name] for name in crops["identity_id"]], object)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    kinds = Counter(zip(group, crops["label"], crops["fake_type"], strict=True))
    for (name, label, kind), number in kinds.items():
        counts[name].update(dict.fromkeys(["fake", kind] if label else ["real"], number))
    split_of = _divide(counts, _test_only(crops["source"], group, params.test_sources), params)
    split = np.array([split_of[name] for name in group])
    return {name: select(crops | {"group": group}, split == name) for name in SPLITS}


def find_groups(crops: Table, *, link_sources: bool = True) -> dict[str, str]:
    """Group of every identity_id: the smallest identity_id of its connected component.

    link_sources: whether a swap links the two people.
    """
    columns = ("identity_id", "source_identity_id", "video_id", "original_video_id")
    links: list[tuple[tuple[str, str], tuple[str, str]]] = []
    for identity, donor, *videos in set(zip(*(crops[name] for name in columns), strict=True)):
        linked = [("person", donor if link_sources else ""), *(("video", name) for name in videos)]
        links += [(("person", identity), node) for node in linked if node[1]]
    identities = set(crops["identity_id"])
    groups: dict[str, str] = {}
    for nodes in connected_groups(links):
        # A person who only lends a face names no group.
        members = {name for kind, name in nodes if kind == "person" and name in identities}
        groups |= dict.fromkeys(members, min(members))
    return groups


def _test_only(source: Names, group: Names, test_sources: list[str]) -> set[str]:
    """Groups with a crop of one of the test sources; source, group: (n,) of each crop."""
    members: dict[str, set[str]] = defaultdict(set)
    for name, owner in set(zip(source, group, strict=True)):
        members[name].add(owner)
    if unknown := sorted(set(test_sources) - set(members)):
        raise SplitError(
            f"split_groups.test_sources: no crop is of source {', '.join(unknown)}; available"
            f" sources: {', '.join(sorted(members))}"
        )
    return {owner for name in test_sources for owner in members[name]}


def _divide(
    counts: Mapping[str, Counts], test_only: set[str], params: SplitGroupsParams
) -> dict[str, str]:
    """Split of every group: the cheapest division found from a few random orders."""
    divided = {group: counts[group] for group in counts if group not in test_only}
    if not divided:
        raise SplitError(
            "split_groups.test_sources: every group has a crop of these sources; no groups remain"
            " for training"
        )
    in_test: Counter[str] = Counter()
    for group in test_only:
        in_test.update(counts[group])
    costs = _Costs(divided, in_test, params)
    rng = np.random.default_rng(params.seed)
    best: list[int] = []
    best_cost = np.inf
    for _ in range(RESTARTS):
        splits = _filled(costs, rng.permutation(len(divided)).tolist())
        cost = round(costs.of(costs.crops_in(splits)), 12)
        if cost < best_cost:
            best, best_cost = splits, cost
        if best_cost < GOOD_ENOUGH:
            break
    _require_classes(costs, costs.crops_in(best))
    chosen = {name: SPLITS[split] for name, split in zip(costs.groups, best, strict=True)}
    return chosen | dict.fromkeys(test_only, "test")


class _Costs:
    """Cost of a division of groups; a missing class costs more than any imbalance.

    A division is a list with an index into SPLITS per group, in the order of `groups`. table:
    (groups, classes) number of crops. given: (splits, classes) number of crops whose split is fixed
    in advance; they prevent a missing class, but do not count for the fractions. The methods take
    or return `crops`: (splits, classes) number of crops of a division, without those given.
    """

    def __init__(
        self, counts: Mapping[str, Counts], in_test: Counts, params: SplitGroupsParams
    ) -> None:
        present = {name for group in counts.values() for name in group}
        self.groups = sorted(counts)
        self.classes = sorted(present | {"real", "fake"})
        self.needed = [name for name in NEEDED if name in self.classes]
        self.needed_columns = [self.classes.index(name) for name in self.needed]
        # Integers, so that the order of summation cannot change a result.
        table = [[counts[group][name] for name in self.classes] for group in self.groups]
        self.table: CountTable = np.array(table, dtype=np.int64)
        self.totals = np.maximum(1, self.table.sum(axis=0))
        self.given: CountTable = np.zeros((len(SPLITS), len(self.classes)), dtype=np.int64)
        self.given[SPLITS.index("test")] = [in_test.get(name, 0) for name in self.classes]
        train_frac = 1 - params.val_frac - params.test_frac
        self.targets = np.array([train_frac, params.val_frac, params.test_frac])[:, None]

    def of(self, crops: CountTable) -> float:
        """Ten times the number of missing classes, plus the mean squared error of the fractions."""
        missing = np.count_nonzero((crops + self.given)[:, self.needed_columns] == 0)
        return 10.0 * missing + float(((crops / self.totals - self.targets) ** 2).mean())

    def crops_in(self, splits: Sequence[int]) -> CountTable:
        crops = np.zeros((len(SPLITS), len(self.classes)), dtype=np.int64)
        np.add.at(crops, np.array(splits), self.table)
        return crops


def _filled(costs: _Costs, order: Sequence[int]) -> list[int]:
    """Add each group, largest first, to its cheapest split; then move groups while that helps."""
    largest_first = sorted(order, key=lambda group: -int(costs.table[group].sum()))
    splits = [0] * len(order)
    crops = np.zeros((len(SPLITS), len(costs.classes)), dtype=np.int64)
    for group in largest_first:
        splits[group] = _cheapest(costs, crops, group)
        crops[splits[group]] += costs.table[group]
    cost = costs.of(crops)
    while True:
        for group in largest_first:
            crops[splits[group]] -= costs.table[group]
            splits[group] = _cheapest(costs, crops, group)
            crops[splits[group]] += costs.table[group]
        lower = costs.of(crops)
        if lower >= cost - 1e-12:
            return splits
        cost = lower


def _cheapest(costs: _Costs, crops: CountTable, group: int) -> int:
    """The first split to which the group can be added at the lowest cost."""
    options = []
    for split in range(len(SPLITS)):
        crops[split] += costs.table[group]
        options.append(round(costs.of(crops), 12))
        crops[split] -= costs.table[group]
    return options.index(min(options))


def _require_classes(costs: _Costs, crops: CountTable) -> None:
    missing = [
        f"{split} would have no {name} crops"
        for row, split in zip(crops + costs.given, SPLITS, strict=True)
        for column, name in zip(costs.needed_columns, costs.needed, strict=True)
        if row[column] == 0
    ]
    if missing:
        raise SplitError(
            f"split_groups: {'; '.join(missing)}.\nEvery split needs each class, and a group"
            " (people and videos linked by swaps) is never divided: each class must occur in at"
            f" least {len(SPLITS)} groups. If swaps link nearly everybody, as in Celeb-DF, set"
            " split_groups.link_sources to false: a source person may then be in two splits, which"
            f" audit_splits counts.\nGroups: {_sizes(costs)}"
        )


def _sizes(costs: _Costs) -> str:
    """Sizes of the first groups, as `anna: 12 fake, 12 real; ...`."""
    sizes = []
    for name, row in zip(costs.groups[:GROUPS_SHOWN], costs.table.tolist(), strict=False):
        parts = [f"{n} {kind}" for kind, n in zip(costs.classes, row, strict=True) if n]
        sizes.append(f"{name}: {', '.join(parts)}")
    more = len(costs.groups) - GROUPS_SHOWN
    return "; ".join(sizes) + (f"; and {more} more" if more > 0 else "")
