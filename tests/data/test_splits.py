from hypothesis import given
from hypothesis import strategies as st

from headstart.data.splits import held_out, shuffled

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


@given(KEYS, st.integers(), st.randoms())
def test_the_order_they_come_in_does_not_matter(keys, seed, random):
    other = list(keys)
    random.shuffle(other)
    assert shuffled(other, seed) == shuffled(keys, seed)


def test_a_seed_chooses_and_is_the_same_everywhere():
    keys = [f"cat/{i}.png" for i in range(100)]
    assert held_out(keys, 0.3, 0) != held_out(keys, 0.3, 1)
    assert shuffled("abc", 0) == ["c", "b", "a"]


def test_nothing_can_be_held_out_of_one_or_none():
    assert held_out(["only"], 0.5, 0) == held_out([], 0.5, 0) == set()
