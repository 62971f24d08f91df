"""What a run tells of itself."""

import time

from headstart.extraction.extraction_stats import ExtractionStats


def test_counts_say_what_was_done() -> None:
    assert str(ExtractionStats(wanted=1000)) == "1,000 rows, 0 computed, the rest cached"
    told = str(ExtractionStats(wanted=10, computed=5, dropped=1, seconds=2.0, computing=1.0))
    assert "5 computed" in told
    assert "1 unreadable" in told
    assert "2.5 rows/s" in told
    assert "computing 50%" in told


def test_time_adds_up_by_step() -> None:
    counts = ExtractionStats()
    for _ in range(2):
        with counts.timed("writing"):
            time.sleep(0.01)
    assert counts.writing >= 0.02
    assert counts.reading == 0
