from hypothesis import given
from hypothesis import strategies as st

from headstart.splits import held_out, shuffled

IDS = st.sets(st.text(max_size=8), min_size=2, max_size=60).map(sorted)
FRACTION = st.floats(0.01, 0.99)


@given(IDS, FRACTION, st.integers())
def test_holds_out_the_fraction_but_never_none_or_all(ids, fraction, seed):
    slice_ = held_out(ids, fraction, seed)
    assert slice_ < set(ids)
    assert len(slice_) == min(max(round(fraction * len(ids)), 1), len(ids) - 1)


@given(IDS, FRACTION, st.integers(), st.text(min_size=9))
def test_another_id_moves_at_most_one(ids, fraction, seed, another):
    before, after = held_out(ids, fraction, seed), held_out([*ids, another], fraction, seed)
    assert len((before ^ after) - {another}) <= 1


@given(IDS, st.integers(), st.randoms())
def test_the_order_they_come_in_does_not_matter(ids, seed, random):
    other = list(ids)
    random.shuffle(other)
    assert shuffled(other, seed) == shuffled(ids, seed)


def test_a_seed_chooses_and_is_the_same_everywhere():
    ids = [f"cat/{i}.png" for i in range(100)]
    assert held_out(ids, 0.3, 0) != held_out(ids, 0.3, 1)
    assert shuffled("abc", 0) == ["c", "b", "a"]


def test_nothing_can_be_held_out_of_one_or_none():
    assert held_out(["only"], 0.5, 0) == held_out([], 0.5, 0) == set()
