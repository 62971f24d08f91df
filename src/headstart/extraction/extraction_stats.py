"""Statistics of an extraction: numbers of rows, and the time of each step."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

STEPS = ("reading", "cropping", "computing", "writing")


@dataclass
class ExtractionStats:
    """Numbers of rows, and seconds per step, of one extraction.

    wanted: rows that the splits consist of. computed: those that were not cached. checked: cached
    rows that were computed again. dropped: parts of the cache that could not be read.
    seconds: in all. reading, cropping, computing, writing: seconds, which may overlap, as images
    are read and cropped while the device computes. network_rate: rows per second of the network
    alone; 0 if the run was too short to measure it.
    """

    wanted: int = 0
    computed: int = 0
    checked: int = 0
    dropped: int = 0
    seconds: float = 0.0
    reading: float = 0.0
    cropping: float = 0.0
    computing: float = 0.0
    writing: float = 0.0
    network_rate: float = 0.0

    def __str__(self) -> str:
        text = f"{self.wanted:,} rows, {self.computed:,} computed, the rest cached"
        if self.dropped:
            text += f" ({self.dropped} unreadable parts of the cache were dropped)"
        if self.computed:
            shares = ", ".join(f"{name} {getattr(self, name) / self.seconds:.0%}" for name in STEPS)
            rate = self.computed / self.seconds
            text += f"; {rate:,.1f} rows/s; of the time: {shares}"
            if self.network_rate:
                share = f"{rate / self.network_rate:.0%}"
                text += f"; {share} of the {self.network_rate:,.1f} of the network alone"
        return text

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Adds the duration of the `with` block to `step`, one of STEPS."""
        start = time.perf_counter()
        yield
        setattr(self, step, getattr(self, step) + time.perf_counter() - start)


def merge_stats(shares: Sequence[ExtractionStats]) -> ExtractionStats:
    """Returns the sums of the numbers of several shares; of the network's rates, the highest."""
    merged = ExtractionStats(
        **{f.name: sum(getattr(s, f.name) for s in shares) for f in fields(ExtractionStats)}
    )
    merged.network_rate = max(stats.network_rate for stats in shares)
    return merged
