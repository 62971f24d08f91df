import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from headstart.metrics.paired_tests import mcnemar_p_value, paired_differences


def outcomes(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int):
    p_value = mcnemar_p_value(*outcomes(50, only_a, only_b, 10))
    discordant = only_a + only_b
    expected = min(1.0, 2 * binom.cdf(min(only_a, only_b), discordant, 0.5))
    assert p_value == pytest.approx(expected)
    if discordant:
        assert p_value == pytest.approx(binomtest(only_a, discordant).pvalue)


def test_differences_are_paired():
    # Each is right on 80 and 70 of 100; paired, ten images decide, and unpaired they'd be lost.
    a, b = outcomes(70, 10, 0, 20)
    (difference,) = paired_differences({"b": b, "a": a}, 0.95, 2000, 0)
    assert (difference.better, difference.worse) == ("a", "b")
    assert difference.value == pytest.approx(0.1)
    error = np.sqrt(0.1 * 0.9 / 100)
    assert difference.low == pytest.approx(0.1 - 1.96 * error, abs=0.012)
    assert difference.high == pytest.approx(0.1 + 1.96 * error, abs=0.012)
    assert difference.p_value == pytest.approx(2 * 0.5**10)


def test_every_pair_once_and_the_widest_first():
    rng = np.random.default_rng(0)
    correct = {f"r{i}": rng.random(300) < 0.3 + 0.1 * i for i in range(5)}
    differences = paired_differences(correct, 0.95, 200, 0)
    assert len({frozenset(pair[:2]) for pair in differences}) == 10
    assert (differences[0].better, differences[0].worse) == ("r4", "r0")
    values = [pair.value for pair in differences]
    assert values == sorted(values, reverse=True)
    assert min(values) >= 0


def test_one_run_has_no_pair():
    assert paired_differences({"a": np.array([True])}, 0.95, 100, 0) == []


def test_equal_runs_differ_by_nothing():
    a = np.array([True, False, True])
    (difference,) = paired_differences({"a": a, "b": a}, 0.95, 100, 0)
    assert difference[2:] == (0.0, 0.0, 0.0, 1.0)
