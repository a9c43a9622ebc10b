"""Components found by maps over partitions, against a walk through the graph."""

from pathlib import Path

import numpy as np
import pytest

from assay.api.components import components_in, edges_from, find_components
from assay.kernels.grouping import partition_of
from assay.kernels.hashing import mix64_array, unmix64_array


def found(edges: np.ndarray, folder: Path, num_partitions: int) -> dict[int, int]:
    """Component of each node that has an edge, by the least of its mixed nodes; three sources send the edges."""
    mixed = mix64_array(edges.astype(np.uint64).ravel()).reshape(-1, 2)
    mixed = np.sort(mixed, axis=1)[:, ::-1]
    sent = edges_from(folder, 3, num_partitions)
    for source in range(3):
        own = np.ascontiguousarray(mixed[source::3])
        sent.send(source, [(own, partition_of(own[:, 0], num_partitions))])
    stars = find_components(sent)
    labels = np.concatenate([components_in(stars, p) for p in range(num_partitions)])
    assert len(np.unique(labels[:, 0])) == len(labels)
    return dict(zip(unmix64_array(labels[:, 0].copy()).tolist(), labels[:, 1].tolist(), strict=True))


def walked(edges: np.ndarray) -> dict[int, int]:
    neighbours: dict[int, set[int]] = {}
    for a, b in edges.tolist():
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    result: dict[int, int] = {}
    for node in neighbours:
        reached, waiting = {node}, [node] if node not in result else []
        while waiting:
            new = neighbours[waiting.pop()] - reached
            reached |= new
            waiting += new
        if node not in result:
            least = int(mix64_array(np.array(sorted(reached), np.uint64)).min())
            result |= dict.fromkeys(reached, least)
    return result


def graphs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    chain = rng.permutation(3000)
    hub = np.stack((np.zeros(500, np.int64), np.arange(1, 501)), axis=1)
    return {
        "random": rng.integers(0, 3000, (2000, 2)),
        "chain": np.stack((chain[:-1], chain[1:]), axis=1),
        "stars": np.concatenate((hub, hub + 1000)),
        "twice": np.array([[1, 2], [2, 1], [1, 2], [3, 4]]),
    }


@pytest.mark.parametrize("name", ["random", "chain", "stars", "twice"])
@pytest.mark.parametrize("num_partitions", [1, 5])
def test_components_are_those_of_a_walk(name: str, num_partitions: int, tmp_path: Path) -> None:
    edges = graphs()[name]
    edges = edges[edges[:, 0] != edges[:, 1]]
    assert found(edges, tmp_path, num_partitions) == walked(edges)


def test_the_rounds_of_a_chain_grow_with_its_logarithm(tmp_path: Path) -> None:
    found(graphs()["chain"], tmp_path, 2)
    rounds = max(int(path.name.split("-")[1]) for path in tmp_path.glob("edges-*.starts")) / 2
    assert rounds <= 2 * np.log2(3000)


@pytest.mark.parametrize("seed", range(4))
def test_stars_that_share_a_ray_are_one_component(seed: int, tmp_path: Path) -> None:
    """Such a graph gives no new edge and is not finished: d and c are the least that nodes beside b know of."""
    names = np.random.default_rng(seed).permutation(100)[:5]
    d, c, b, a, other = names[np.argsort(mix64_array(names.astype(np.uint64)))]
    edges = np.array([[a, b], [a, c], [other, b], [other, d]])
    assert found(edges, tmp_path, 2) == walked(edges)


def test_components_of_many_small_graphs(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for k in range(60):
        edges = rng.integers(0, int(rng.integers(3, 40)), (int(rng.integers(2, 60)), 2))
        edges = edges[edges[:, 0] != edges[:, 1]]
        (tmp_path / str(k)).mkdir()
        assert found(edges, tmp_path / str(k), 1) == walked(edges)


def test_no_edges_are_no_trouble(tmp_path: Path) -> None:
    assert found(np.empty((0, 2), np.int64), tmp_path, 3) == {}


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    """Files of later rounds are gone, as when the process died; what is there is not made again."""
    edges = graphs()["chain"]
    expected = found(edges, tmp_path, 3)
    for path in tmp_path.glob("edges-00[4-9]*"):
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert found(edges, tmp_path, 3) == expected
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
