"""pipeline.core.components: connected components of a graph."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.components import connected_groups

NODES = st.integers(0, 9)


def test_by_hand() -> None:
    groups = connected_groups([("a", "b"), ("c", "b"), ("d", "d"), ("e", "f")])
    assert sorted(map(sorted, groups)) == [["a", "b", "c"], ["d"], ["e", "f"]]
    assert connected_groups([]) == []


@given(st.lists(st.tuples(NODES, NODES), max_size=12))
def test_groups_equal_merging_overlapping_sets(links: list[tuple[int, int]]) -> None:
    merged: list[set[int]] = []
    for link in links:
        touched = [group for group in merged if group & set(link)]
        merged = [group for group in merged if group not in touched]
        merged.append(set(link).union(*touched))
    assert sorted(map(sorted, connected_groups(links))) == sorted(map(sorted, merged))
