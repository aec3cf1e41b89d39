"""Leak-proof groups of crops, and their division into train, val and test.

A group is a connected component: two crops belong together when they share a person (as the swap's
target or its source) or a video (their own or the one it was made from). Groups of
split_groups.test_sources are held out for the test as a whole.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.labels import SPLITS
from pipeline.core.manifest import CropRow, SplitRow
from pipeline.runtime.errors import SplitError
from pipeline.runtime.sections import SplitGroupsParams

# Orders tried; the best division of all is kept.
RESTARTS = 8
# Mean squared error of the fractions below which no other order is tried.
GOOD_ENOUGH = 1e-6
GROUPS_SHOWN = 12

# What every split must hold; INSwapper fakes if there are any at all.
NEEDED = ("real", "fake", "inswapper")

# Crops of a group by class: "real", "fake", and the fake_type of fakes.
Counts = Mapping[str, int]
CountTable = NDArray[np.int64]


def assign_groups(rows: Sequence[CropRow], params: SplitGroupsParams) -> dict[str, list[SplitRow]]:
    """Divide crops by group into {"train": rows, "val": rows, "test": rows}, in their given order.

    Groups with a crop of one of params.test_sources go to test; the fractions are of all the others
    and are met as nearly as whole groups allow, for each class alike. The division depends on the
    set of rows and on the seed, not on their order.
    Raises SplitError for a test source that does not occur, and when real, fake or (if there are
    any) INSwapper crops are absent from a split.
    """
    if not rows:
        raise SplitError("split_groups: there are no crops to split")
    groups = find_groups(rows)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[groups[row.identity_id]].update(_classes(row))
    kept_out = _held_out(rows, groups, params.test_sources)
    split_of = _divide(counts, kept_out, params)
    divided: dict[str, list[SplitRow]] = {name: [] for name in SPLITS}
    for row in rows:
        group = groups[row.identity_id]
        divided[split_of[group]].append(SplitRow(**row.model_dump(), group=group))
    return divided


def find_groups(rows: Iterable[CropRow]) -> dict[str, str]:
    """Group of every identity_id: the smallest identity_id of its connected component."""
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    identities = set()
    for row in rows:
        person = ("person", row.identity_id)
        identities.add(row.identity_id)
        links = [
            ("person", row.source_identity_id),
            ("video", row.video_id),
            ("video", row.original_video_id),
        ]
        for link in links:
            if link[1]:
                parents[root(link)] = root(person)
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for identity in identities:
        members[root(("person", identity))].append(identity)
    return {identity: min(names) for names in members.values() for identity in names}


def _classes(row: CropRow) -> list[str]:
    return ["fake", row.fake_type] if row.label else ["real"]


def _held_out(rows: Iterable[CropRow], groups: Mapping[str, str], sources: list[str]) -> set[str]:
    """The groups with a crop of one of the sources."""
    members: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        members[row.source].add(groups[row.identity_id])
    if unknown := sorted(set(sources) - set(members)):
        raise SplitError(
            f"split_groups.test_sources: no crop is of source {', '.join(unknown)}; expected some"
            f" of {', '.join(sorted(members))}"
        )
    return {group for source in sources for group in members[source]}


def _divide(
    counts: Mapping[str, Counts], held_out: set[str], params: SplitGroupsParams
) -> dict[str, str]:
    """Split of every group: the cheapest division that a few random orders lead to."""
    divided = {group: counts[group] for group in counts if group not in held_out}
    if not divided:
        raise SplitError(
            "split_groups.test_sources: every group has a crop of these sources; nothing is left"
            " to train on"
        )
    in_test: Counter[str] = Counter()
    for group in held_out:
        in_test.update(counts[group])
    costs = _Costs(divided, in_test, params)
    rng = np.random.default_rng(params.seed)
    best: list[int] = []
    best_cost = np.inf
    for _ in range(RESTARTS):
        splits = _filled(costs, rng.permutation(len(divided)).tolist())
        cost = round(costs.of(costs.held_by(splits)), 12)
        if cost < best_cost:
            best, best_cost = splits, cost
        if best_cost < GOOD_ENOUGH:
            break
    _require_classes(costs, costs.held_by(best))
    chosen = {name: SPLITS[split] for name, split in zip(costs.groups, best, strict=True)}
    return chosen | dict.fromkeys(held_out, "test")


class _Costs:
    """What a division of groups costs: a missing class weighs more than any imbalance.

    A division is a list: index into SPLITS a group, in the order of `groups`. table: crops of each
    (group, class). held: crops of each (split, class). given: crops that lie in a split whatever
    the division; they fill in for a missing class, but count for no fraction.
    """

    def __init__(
        self, counts: Mapping[str, Counts], in_test: Counts, params: SplitGroupsParams
    ) -> None:
        present = {name for group in counts.values() for name in group}
        self.groups = sorted(counts)
        self.classes = sorted(present | {"real", "fake"})
        self.needed = [name for name in NEEDED if name in self.classes]
        self.needed_columns = [self.classes.index(name) for name in self.needed]
        # Whole numbers, so that no order of adding them up can change a result.
        table = [[counts[group][name] for name in self.classes] for group in self.groups]
        self.table: CountTable = np.array(table, dtype=np.int64)
        self.totals = np.maximum(1, self.table.sum(axis=0))
        self.given: CountTable = np.zeros((len(SPLITS), len(self.classes)), dtype=np.int64)
        self.given[SPLITS.index("test")] = [in_test.get(name, 0) for name in self.classes]
        train_frac = 1 - params.val_frac - params.test_frac
        self.targets = np.array([train_frac, params.val_frac, params.test_frac])[:, None]

    def of(self, held: CountTable) -> float:
        """Number of classes that splits lack, plus the squared error of the fractions."""
        missing = np.count_nonzero((held + self.given)[:, self.needed_columns] == 0)
        return 10.0 * missing + float(((held / self.totals - self.targets) ** 2).mean())

    def held_by(self, splits: Sequence[int]) -> CountTable:
        held = np.zeros((len(SPLITS), len(self.classes)), dtype=np.int64)
        np.add.at(held, np.array(splits), self.table)
        return held


def _filled(costs: _Costs, order: Sequence[int]) -> list[int]:
    """Place groups, the largest first, where each costs least; then move them while that helps."""
    largest_first = sorted(order, key=lambda group: -int(costs.table[group].sum()))
    splits = [0] * len(order)
    held = np.zeros((len(SPLITS), len(costs.classes)), dtype=np.int64)
    for group in largest_first:
        splits[group] = _cheapest(costs, held, group)
        held[splits[group]] += costs.table[group]
    cost = costs.of(held)
    while True:
        for group in largest_first:
            held[splits[group]] -= costs.table[group]
            splits[group] = _cheapest(costs, held, group)
            held[splits[group]] += costs.table[group]
        lower = costs.of(held)
        if lower >= cost - 1e-12:
            return splits
        cost = lower


def _cheapest(costs: _Costs, held: CountTable, group: int) -> int:
    """The split to which the group is added at the least cost; the first of several."""
    options = []
    for split in range(len(SPLITS)):
        held[split] += costs.table[group]
        options.append(round(costs.of(held), 12))
        held[split] -= costs.table[group]
    return options.index(min(options))


def _require_classes(costs: _Costs, held: CountTable) -> None:
    lacks = [
        f"{split} would have no {name} crops"
        for row, split in zip(held + costs.given, SPLITS, strict=True)
        for column, name in zip(costs.needed_columns, costs.needed, strict=True)
        if row[column] == 0
    ]
    if lacks:
        raise SplitError(
            f"split_groups: {'; '.join(lacks)}.\nEvery split needs each class, and a group (people"
            " and videos linked by swaps) is never divided: each class must occur in at least"
            f" {len(SPLITS)} groups.\nGroups: {_sizes(costs)}"
        )


def _sizes(costs: _Costs) -> str:
    """`anna: 12 fake, 12 real; ...` of the first groups."""
    sizes = []
    for name, row in zip(costs.groups[:GROUPS_SHOWN], costs.table.tolist(), strict=False):
        parts = [f"{n} {kind}" for kind, n in zip(costs.classes, row, strict=True) if n]
        sizes.append(f"{name}: {', '.join(parts)}")
    more = len(costs.groups) - GROUPS_SHOWN
    return "; ".join(sizes) + (f"; and {more} more" if more > 0 else "")
