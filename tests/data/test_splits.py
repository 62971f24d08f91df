from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.splits import Group, connected, held_out, held_out_groups

KEYS = st.sets(st.text(max_size=8), min_size=2, max_size=60).map(sorted)
FRACTION = st.floats(0.01, 0.99)


@given(KEYS, FRACTION, st.integers())
def test_holds_out_the_fraction_but_never_none_or_all(keys, fraction, seed):
    slice_ = held_out(keys, fraction, seed)
    assert slice_ < set(keys)
    assert len(slice_) == min(max(round(fraction * len(keys)), 1), len(keys) - 1)


@given(KEYS, FRACTION, st.integers(), st.text(min_size=9))
def test_another_key_moves_at_most_one(keys, fraction, seed, another):
    before, after = held_out(keys, fraction, seed), held_out([*keys, another], fraction, seed)
    assert len((before ^ after) - {another}) <= 1


@given(KEYS, FRACTION, st.integers())
def test_a_key_that_comes_twice_counts_once(keys, fraction, seed):
    assert held_out([*keys, *keys[:3]], fraction, seed) == held_out(keys, fraction, seed)


@given(KEYS, FRACTION, st.integers(), st.randoms())
def test_the_order_they_come_in_does_not_matter(keys, fraction, seed, random):
    other = list(keys)
    random.shuffle(other)
    assert held_out(other, fraction, seed) == held_out(keys, fraction, seed)


def test_a_seed_chooses_and_is_the_same_everywhere():
    keys = [f"cat/{i}.png" for i in range(100)]
    assert held_out(keys, 0.3, 0) != held_out(keys, 0.3, 1)
    assert held_out("abc", 0.3, 0) == {"c"}
    assert held_out("abc", 0.6, 0) == {"b", "c"}


def test_nothing_can_be_held_out_of_one_or_none():
    assert held_out(["only"], 0.5, 0) == held_out([], 0.5, 0) == set()


SIZES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1)
GROUPS = st.lists(SIZES, max_size=30).map(
    lambda sizes: [Group(str(number), of_one) for number, of_one in enumerate(sizes)]
)


def total(groups: list[Group], chosen: set[int] | None = None) -> Counter:
    sizes = Counter()
    for position, group in enumerate(groups):
        if chosen is None or position in chosen:
            sizes.update(group.sizes)
    return sizes


@given(GROUPS, FRACTION, st.integers())
def test_no_class_is_taken_whole(groups, fraction, seed):
    every, taken = total(groups), total(groups, held_out_groups(groups, fraction, seed))
    assert all(taken[label] < size for label, size in every.items())


@given(GROUPS, FRACTION, st.integers())
def test_groups_of_one_class_miss_its_share_by_less_than_the_largest_of_them(
    groups, fraction, seed
):
    groups = [Group(name, dict([min(sizes.items())])) for name, sizes in groups]
    every, taken = total(groups), total(groups, held_out_groups(groups, fraction, seed))
    for label, size in every.items():
        largest = max(group.sizes.get(label, 0) for group in groups)
        if largest < size:
            wanted = min(max(round(fraction * size), 1), size - 1)
            assert abs(taken[label] - wanted) <= largest
            assert taken[label] > 0


@given(st.lists(KEYS, min_size=1, max_size=3), FRACTION, st.integers())
def test_groups_of_one_image_are_a_stratified_slice(classes, fraction, seed):
    groups = [Group(key, {label: 1}) for label, keys in enumerate(classes) for key in keys]
    chosen = {(i, groups[i].name) for i in held_out_groups(groups, fraction, seed)}
    for label, keys in enumerate(classes):
        names = {name for position, name in chosen if label in groups[position].sizes}
        assert names == held_out(keys, fraction, seed)


def test_a_class_that_shares_its_groups_with_others_gets_its_share_too():
    rng = np.random.default_rng(0)
    groups = [
        Group(f"author {i}", Counter(rng.integers(5, size=rng.integers(1, 6)).tolist()))
        for i in range(150)
    ]
    every, taken = total(groups), total(groups, held_out_groups(groups, 0.4, 0))
    for label, size in every.items():
        assert abs(taken[label] - 0.4 * size) <= 5  # the largest group


def test_another_group_moves_few_others():
    rng = np.random.default_rng(0)
    groups = [
        Group(f"author {i}", Counter(rng.integers(5, size=rng.integers(1, 4)).tolist()))
        for i in range(150)
    ]
    before = held_out_groups(groups, 0.4, 0)
    moved = []
    for number in range(40):
        added = Group(f"new {number}", {number % 5: 1})
        moved.append(len((held_out_groups([*groups, added], 0.4, 0) - {150}) ^ before))
    assert np.mean(moved) <= 3
    assert max(moved) <= 12


def test_links_that_share_nodes_have_one_number():
    numbers = connected([("a", "b"), ("c", "c"), ("d", "b"), ("e", "f"), ("a", "d")])
    assert len({numbers[i] for i in (0, 2, 4)}) == 1
    assert len(set(numbers)) == 3
    assert connected([]) == []
