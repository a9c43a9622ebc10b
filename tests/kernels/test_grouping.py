"""Grouping of records against dictionaries and sets."""

import numpy as np
import pytest

from assay.kernels.grouping import by_partition, equal_keys, least_in_group, partition_of, take_records


@pytest.mark.parametrize("num_partitions", [1, 2, 7, 4096])
def test_partitions_are_complete_stable_and_by_key(num_partitions: int) -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 64, (5000, 2), np.uint64)
    keys[:500, 0], keys[500:1000, 0] = 0, (1 << 64) - 1
    partitions = partition_of(keys[:, 0], num_partitions)
    order, starts = by_partition(partitions, num_partitions)
    assert sorted(order.tolist()) == list(range(5000)) and starts[0] == 0 and starts[-1] == 5000
    expected = [(int(key) >> 32) * num_partitions >> 32 for key in keys[:, 0]]
    assert partitions.tolist() == expected
    for p in range(num_partitions):
        assert order[starts[p] : starts[p + 1]].tolist() == [i for i in range(5000) if expected[i] == p]
    assert take_records(keys, order).tolist() == keys[order].tolist()


def test_no_records_are_no_trouble() -> None:
    order, starts = by_partition(np.empty(0, np.int64), 4)
    assert len(order) == 0 and starts.tolist() == [0] * 5
    groups, num_groups = equal_keys(np.empty((0, 3), np.uint64), 2)
    assert len(groups) == num_groups == 0


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("step", [1, 1 << 40], ids=["spread", "one slot"])
def test_records_with_the_same_key_have_the_same_number(width: int, step: int) -> None:
    """With keys that are multiples of 2^40 all fall on one slot of the table."""
    records = np.random.default_rng(width).integers(0, 6, (400, 3)).astype(np.uint64) * np.uint64(step)
    groups, num_groups = equal_keys(records, width)
    numbers: dict[tuple[int, ...], int] = {}
    expected = [numbers.setdefault(tuple(record[:width].tolist()), len(numbers)) for record in records]
    assert groups.tolist() == expected
    assert num_groups == len(numbers)


def test_the_least_of_a_group_is_the_first_of_equals() -> None:
    groups = np.array([0, 1, 0, 2, 1, 0], np.int32)
    order = np.array([5, 9, 3, 1 << 63, 9, 3], np.uint64)
    assert least_in_group(groups, 4, order).tolist() == [2, 1, 3, -1]
