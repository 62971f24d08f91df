"""What tune said of every candidate: a table and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from headstart.core.atomic_files import tsv_writer


class Score(NamedTuple):
    """On the whole images of tune: top-1 accuracy, and the softmax's negative log-likelihood."""

    top1: float
    nll: float


@dataclass(frozen=True)
class TuningResults:
    """settings, scores: of every candidate. chosen: position of the one that tune chose."""

    settings: Sequence[dict[str, Any]]
    scores: Sequence[Score]
    chosen: int


def write_tuning_table(path: Path, surface: TuningResults) -> None:
    """A line a candidate, tab-separated, with a header; a diverged one's scores are nan."""
    with tsv_writer(path) as table:
        table.writerow([*surface.settings[0], "tune_top1", "tune_nll", "chosen"])
        for index, (settings, score) in enumerate(
            zip(surface.settings, surface.scores, strict=True)
        ):
            scores = (f"{value:.6g}" for value in score)
            table.writerow([*settings.values(), *scores, int(index == surface.chosen)])
