import time

import pytest

from headstart.core.thread_map import thread_map


def test_results_come_in_order():
    def slow_first(n: int) -> int:
        time.sleep(0.02 * (n == 0))
        return n * n

    assert list(thread_map(slow_first, range(50), "")) == [n * n for n in range(50)]


def test_only_a_few_results_are_held_at_a_time():
    started: list[int] = []
    results = thread_map(started.append, range(10_000), "")
    next(results)
    time.sleep(0.05)
    assert len(started) < 1_000
    results.close()


def test_a_failure_ends_it():
    with pytest.raises(ZeroDivisionError):
        list(thread_map(lambda n: 1 // (n - 3), range(10_000), ""))
