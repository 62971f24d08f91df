"""What a run of extraction did, and where its time went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STEPS = ("reading", "cropping", "computing", "writing")


@dataclass
class ExtractionStats:
    """What a run did.

    dropped: parts of the cache that could not be read. checked: cached rows computed again.
    Seconds may overlap: reading and cropping happen while the device computes. network_rate: rows a
    second of the network alone, in the same run; 0 where it was too short to tell.
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
        """Adds the seconds spent inside to those of `step`, one of STEPS."""
        began = time.perf_counter()
        yield
        setattr(self, step, getattr(self, step) + time.perf_counter() - began)
