"""Connected components of a graph given by its edges."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeVar

NodeT = TypeVar("NodeT", bound=Hashable)


def connected_groups(links: Iterable[tuple[NodeT, NodeT]]) -> list[set[NodeT]]:
    """Connected components of the nodes in `links`, in no particular order (union-find).

    A node without a neighbour is included by a link to itself.
    """
    parents: dict[NodeT, NodeT] = {}

    def root(node: NodeT) -> NodeT:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for first, second in links:
        parents[root(second)] = root(first)
    groups: dict[NodeT, set[NodeT]] = defaultdict(set)
    for node in list(parents):
        groups[root(node)].add(node)
    return list(groups.values())
