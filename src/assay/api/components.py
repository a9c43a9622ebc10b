"""Connected components of a graph that no memory holds, by maps over partitions of its nodes.

Alternating small-star and large-star: Kiveris et al. 2014, "Connected components in MapReduce and beyond" (SoCC),
section 4. In a small-star every node tells its smaller neighbours the least of them, in a large-star its larger ones
the least node it knows of; edges turn into one star around the least node of each component. The paper shows O(log^2 n)
rounds; in practice it is about the logarithm of the longest shortest path, so three or four for families of duplicates.

Nodes are well-mixed 64-bit numbers. An edge is written (a, b) with a > b into the partition of a, and where both ends
have to see it as (b, a) into that of b. On disk a round takes 16 bytes an edge and direction, of fewer edges each time;
in memory one partition.
"""

from functools import partial
from pathlib import Path

import numpy as np

from assay.api.exchange import Exchange, cut_off
from assay.artifacts.manifest import atomic_path
from assay.corpus.sharing import share
from assay.kernels.grouping import large_star, least_neighbours, partition_of, small_star


def edges_from(folder: Path, num_sources: int, num_partitions: int) -> Exchange:
    """Where the edges of the graph are sent: (a, b) with a > b, to the partition of a."""
    return Exchange(folder, "edges-000", num_sources, num_partitions, 2)


def find_components(edges: Exchange) -> Exchange:
    """Stars, every edge in both directions: a node's component is the lesser of itself and its only neighbour."""
    number, num_partitions = 0, edges.num_destinations
    while True:
        both = edges._replace(name=f"edges-{number + 1:03d}", num_sources=num_partitions)
        list(share(partial(_small, edges, both), range(num_partitions), both.sent))
        edges = both._replace(name=f"edges-{number + 2:03d}")
        list(share(partial(_large, both, edges), range(num_partitions), edges.sent))
        if not any(_is_changed(_flag(edges, partition)) for partition in range(num_partitions)):
            return both
        number += 2


def components_in(stars: Exchange, partition: int) -> np.ndarray:
    """(node, least node of its component) of the nodes of one partition that have an edge [nodes, 2] uint64."""
    return least_neighbours(stars.receive(partition))


def _small(edges: Exchange, both: Exchange, partition: int) -> None:
    if not both.has(partition):
        found = small_star(edges.receive(partition))
        both.send(partition, [_to_nodes(np.concatenate((found, found[:, ::-1])), both)])


def _large(both: Exchange, edges: Exchange, partition: int) -> None:
    if not edges.has(partition):
        found, is_changed = large_star(both.receive(partition))
        with atomic_path(_flag(edges, partition)) as path:
            path.write_bytes(b"1" if is_changed else b"0")
        edges.send(partition, [_to_nodes(found, edges)])


def _flag(edges: Exchange, partition: int) -> Path:
    """The file that says whether a large-star has changed an edge of a partition."""
    return edges.folder / f"{edges.name}-{partition:05d}.changed"


def _is_changed(flag: Path) -> bool:
    if (content := flag.read_bytes()) not in (b"0", b"1"):
        raise cut_off(flag)
    return content == b"1"


def _to_nodes(edges: np.ndarray, exchange: Exchange) -> tuple[np.ndarray, np.ndarray]:
    return edges, partition_of(edges[:, 0], exchange.num_destinations)
